//! The kernel as a process: Debian's user-mode-linux, whose md is the same source as the stock
//! kernel's. It runs on the bare processor and boots in a second.

use std::path::Path;
use std::process::Command;

pub(super) fn command(cache: &Path, disks: [&Path; 2]) -> Command {
    // dies with us, however we die
    let mut uml = Command::new("setpriv");
    uml.args(["--pdeathsig", "KILL"]).arg(cache.join("linux.uml"));
    uml.args(["mem=320M", "quiet", "disks=/dev/ubd"]);
    uml.arg(format!("initrd={}", cache.join("initramfs").display()));
    // no terminal but the first, and that one is our pipe
    uml.args(["con=null", "ssl=null", "con0=null,fd:1"]);
    uml.arg("noreboot"); // the guest ends by a reset
    for (i, disk) in disks.iter().enumerate() {
        uml.arg(format!("ubd{i}={}", disk.display()));
    }
    uml
}
