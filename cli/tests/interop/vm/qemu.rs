//! An emulated PC that runs Debian's stock kernel: nothing of the processor's own virtualisation is
//! asked for, so it runs everywhere, slowly.

use std::path::Path;
use std::process::Command;

pub(super) fn command(cache: &Path, disks: [&Path; 2]) -> Command {
    // dies with us, however we die
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-machine", "q35,usb=off,sata=off,smbus=off", "-accel", "tcg", "-m", "512"]);
    // md measures every raid6 routine the processor could run when the module loads: fewer of
    // them, faster boot. Five-level page tables would make each walk of the emulated kernel
    // longer.
    qemu.args(["-cpu", "max,-avx512f,-la57"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
    qemu.arg("-no-reboot"); // the guest ends by a reset
    qemu.arg("-kernel").arg(cache.join("vmlinux"));
    qemu.arg("-initrd").arg(cache.join("initramfs"));
    qemu.args([
        "-append",
        "disks=/dev/vd console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off \
        cryptomgr.notests rcupdate.rcu_expedited=1 random.trust_cpu=on audit=0 nokaslr",
    ]);
    for (i, disk) in disks.iter().enumerate() {
        // the guest may lose its power but this machine will not: no need to wait for real
        // disks
        let file = disk.display().to_string().replace(',', ",,");
        let drive = format!("if=none,id=disk{i},format=raw,cache=unsafe,file={file}");
        qemu.args(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive=disk{i}")]);
    }
    qemu
}
