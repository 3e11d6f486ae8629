//! Partition tables: GPT and MBR, read with distrust.
//!
//! A GPT is believed when its header's checksum and its array's checksum are right, its numbers
//! make sense and it says of itself that it belongs where it was found; when the one at the start
//! is not, the copy in the last block speaks. An MBR has no checksum: two bytes of signature,
//! boot flags that can only be 0x00 or 0x80, and ranges that lie on the disk must do.
//!
//! Which one counts is Linux's rule: a GPT needs a protective MBR (type 0xee) beside it; an MBR
//! without one speaks for itself, even if an old GPT is still there. Beyond that rule a GPT without
//! any MBR is taken, because a wiped first sector is a reason why people come here.
//!
//! Sources: UEFI specification 2.10, §5.2 and §5.3; Linux `block/partitions/{efi,msdos}.c`.

use std::io;
use std::ops::Range;

use holdfast_core::size::SECTOR_BYTES;

/// Which kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// GUID partition table.
    Gpt,
    /// The table of the PC's first sector, with its chain of logical partitions.
    Mbr,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, as in `sda2`.
    pub number: u32,
    /// Where it lies, in sectors of 512 bytes.
    pub sectors: Range<u64>,
    /// Its name (GPT), or empty.
    pub name: String,
}

/// A table of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which kind.
    pub scheme: Scheme,
    /// By number.
    pub partitions: Vec<Partition>,
    /// What was wrong and has been passed over, in sentences.
    pub flaws: Vec<String>,
}

impl Table {
    /// The partition of this number.
    pub fn get(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }
}

/// Most logical partitions followed.
const MAX_LOGICAL: u32 = 124;
/// The largest array of GPT entries read, in bytes; the usual one has 16 KiB.
const MAX_ARRAY_BYTES: u64 = 1 << 20;
/// Block sizes in which tables are counted.
const BLOCK_BYTES: [u64; 2] = [512, 4096];

/// The table of a device of `bytes`, if there is one. `read` fills a buffer from a byte offset.
///
/// # Errors
/// Those of `read`.
pub fn find(
    bytes: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Table>> {
    if bytes < 2 * SECTOR_BYTES {
        return Ok(None);
    }
    let mut first = [0; 512];
    read(0, &mut first)?;
    let entries = mbr_entries(&first, bytes);
    let protective = entries.as_ref().is_some_and(|entries| entries.iter().any(|e| e.kind == 0xee));
    if let Some(entries) = entries.filter(|_| !protective) {
        return mbr(&entries, bytes, &mut read).map(Some);
    }
    let mut table = gpt(bytes, &mut read)?;
    if let Some(table) = table.as_mut().filter(|_| !protective) {
        table.flaws.push("there is no protective MBR; Linux would not look at the GPT".to_owned());
    }
    Ok(table)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// An entry of an MBR: type, first sector, sectors.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u8,
    start: u64,
    sectors: u64,
}

impl Entry {
    const fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// The four entries of a sector that is an MBR.
fn mbr_entries(sector: &[u8; 512], bytes: u64) -> Option<[Entry; 4]> {
    if sector[510..] != [0x55, 0xaa] {
        return None;
    }
    let mut entries = [Entry { kind: 0, start: 0, sectors: 0 }; 4];
    let (rows, _) = sector[446..510].as_chunks::<16>();
    for (entry, row) in entries.iter_mut().zip(rows) {
        // The boot sector of a file system ends with the same two bytes, but has text here.
        if row[0] & 0x7f != 0 {
            return None;
        }
        *entry = Entry { kind: row[4], start: le32(row, 8).into(), sectors: le32(row, 12).into() };
    }
    let starts_on_disk = |entry: &Entry| entry.start < bytes / SECTOR_BYTES;
    let used = |entry: &&Entry| entry.kind != 0 && entry.sectors != 0;
    let plausible =
        entries.iter().any(|entry| used(&entry)) && entries.iter().filter(used).all(starts_on_disk);
    plausible.then_some(entries)
}

fn mbr(
    entries: &[Entry; 4],
    bytes: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Table> {
    let mut table = Table { scheme: Scheme::Mbr, partitions: Vec::new(), flaws: Vec::new() };
    for (number, entry) in (1..).zip(entries) {
        if entry.kind != 0 && entry.sectors != 0 && !entry.is_extended() {
            table.take(number, entry.start, entry.sectors, String::new(), bytes);
        }
    }
    if let Some(extended) = entries.iter().find(|entry| entry.is_extended()) {
        table.logical(*extended, bytes, read)?;
    }
    Ok(table)
}

impl Table {
    /// Takes a partition that lies on the disk; one that reaches beyond it is cut and named.
    fn take(&mut self, number: u32, start: u64, sectors: u64, name: String, bytes: u64) {
        let disk = bytes / SECTOR_BYTES;
        let end = start.saturating_add(sectors);
        if start == 0 || start >= disk {
            self.flaws.push(format!("partition {number} does not lie on the disk"));
            return;
        }
        if end > disk {
            let beyond = end - disk;
            self.flaws.push(format!("partition {number} reaches {beyond} sectors beyond the disk"));
        }
        let sectors = start..end.min(disk);
        let overlaps = |other: &&Partition| {
            sectors.start < other.sectors.end && other.sectors.start < sectors.end
        };
        if let Some(other) = self.partitions.iter().find(overlaps) {
            self.flaws.push(format!("partitions {} and {number} overlap", other.number));
        }
        self.partitions.push(Partition { number, sectors, name });
    }

    /// Follows the chain of an extended partition: each link names one partition and the next
    /// link, which must lie further on, or a ring would have no end.
    fn logical(
        &mut self,
        extended: Entry,
        bytes: u64,
        read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut link = extended.start;
        for number in 5..5 + MAX_LOGICAL {
            let mut sector = [0; 512];
            if link >= bytes / SECTOR_BYTES {
                self.flaws.push("the chain of logical partitions leaves the disk".to_owned());
                return Ok(());
            }
            read(link * SECTOR_BYTES, &mut sector)?;
            if sector[510..] != [0x55, 0xaa] {
                self.flaws.push(format!("no logical partition table at sector {link}"));
                return Ok(());
            }
            let (rows, _) = sector[446..510].as_chunks::<16>();
            let [here, next] = [&rows[0], &rows[1]].map(|row| Entry {
                kind: row[4],
                start: le32(row, 8).into(),
                sectors: le32(row, 12).into(),
            });
            if here.kind != 0 && here.sectors != 0 {
                self.take(number, link + here.start, here.sectors, String::new(), bytes);
            }
            if !next.is_extended() || next.sectors == 0 {
                return Ok(());
            }
            let further = extended.start + next.start;
            if further <= link {
                self.flaws.push("the chain of logical partitions turns back".to_owned());
                return Ok(());
            }
            link = further;
        }
        self.flaws.push("the chain of logical partitions is too long".to_owned());
        Ok(())
    }
}

/// The table of the first believable header: at the start, then at the end, in blocks of 512 bytes,
/// then of 4096.
fn gpt(
    bytes: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Table>> {
    let mut flaws = Vec::new();
    for block in BLOCK_BYTES.into_iter().filter(|block| bytes / block >= 6) {
        let last = bytes / block - 1;
        for (lba, place) in [(1, "primary"), (last, "backup")] {
            match header(lba, block, last, read)? {
                Ok(Some(header)) => match entries(&header, block, read)? {
                    Ok(array) => return Ok(Some(header.table(&array, block, bytes, flaws))),
                    Err(why) => flaws.push(format!("the {place} GPT: {why}")),
                },
                Ok(None) => {}
                Err(why) => flaws.push(format!("the {place} GPT header: {why}")),
            }
        }
    }
    Ok(None)
}

/// What a header says, checked.
struct Header {
    usable: (u64, u64),
    array_lba: u64,
    array_bytes: u64,
    array_crc: u32,
    entry_bytes: usize,
    is_backup: bool,
}

/// A part of the table, nothing there, or why it is not believed.
type Checked<T> = io::Result<Result<T, String>>;

fn header(
    lba: u64,
    block: u64,
    last: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> Checked<Option<Header>> {
    let mut bytes = vec![0; block as usize];
    read(lba * block, &mut bytes)?;
    if !bytes.starts_with(b"EFI PART") {
        return Ok(Ok(None));
    }
    let size = le32(&bytes, 12) as usize;
    if !(92..=bytes.len()).contains(&size) {
        return Ok(Err(format!("a header has 92 to {block} bytes, not {size}")));
    }
    let stored = le32(&bytes, 16);
    let mut covered = bytes[..size].to_vec();
    covered[16..20].fill(0);
    let sum = crc32fast::hash(&covered);
    if stored != sum {
        return Ok(Err(format!("checksum {stored:#x}, the bytes give {sum:#x}")));
    }
    if le64(&bytes, 24) != lba {
        return Ok(Err(format!("it belongs to block {}, not {lba}", le64(&bytes, 24))));
    }
    let usable = (le64(&bytes, 40), le64(&bytes, 48));
    if usable.0 > usable.1 || usable.1 > last {
        let (first, end) = usable;
        return Ok(Err(format!("usable blocks {first} to {end} are none of this disk's")));
    }
    let (array_lba, count) = (le64(&bytes, 72), u64::from(le32(&bytes, 80)));
    let entry_bytes = le32(&bytes, 84);
    if entry_bytes < 128 || !entry_bytes.is_power_of_two() || entry_bytes > 4096 {
        return Ok(Err(format!("entries of {entry_bytes} bytes")));
    }
    let array_bytes = count * u64::from(entry_bytes);
    if count == 0 || array_bytes > MAX_ARRAY_BYTES {
        return Ok(Err(format!("{count} entries")));
    }
    let end = array_lba.checked_mul(block).and_then(|start| start.checked_add(array_bytes));
    if array_lba < 2 || end.is_none_or(|end| end > (last + 1) * block) {
        return Ok(Err(format!("its array at block {array_lba} does not lie on the disk")));
    }
    Ok(Ok(Some(Header {
        usable,
        array_lba,
        array_bytes,
        array_crc: le32(&bytes, 88),
        entry_bytes: entry_bytes as usize,
        is_backup: lba != 1,
    })))
}

fn entries(
    header: &Header,
    block: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> Checked<Vec<u8>> {
    let mut array = vec![0; header.array_bytes.next_multiple_of(SECTOR_BYTES) as usize];
    read(header.array_lba * block, &mut array)?;
    array.truncate(header.array_bytes as usize);
    let (stored, sum) = (header.array_crc, crc32fast::hash(&array));
    if stored != sum {
        return Ok(Err(format!("checksum of its array {stored:#x}, the bytes give {sum:#x}")));
    }
    Ok(Ok(array))
}

impl Header {
    fn table(&self, array: &[u8], block: u64, bytes: u64, mut flaws: Vec<String>) -> Table {
        if self.is_backup {
            flaws.push("the backup GPT at the end of the disk is used".to_owned());
        }
        let mut table = Table { scheme: Scheme::Gpt, partitions: Vec::new(), flaws };
        let unit = block / SECTOR_BYTES;
        for (number, entry) in (1..).zip(array.chunks_exact(self.entry_bytes)) {
            if entry[..16] == [0; 16] {
                continue;
            }
            let (first, last) = (le64(entry, 32), le64(entry, 40));
            let (from, to) = self.usable;
            if first > last || first < from || last > to {
                let why = format!("partition {number}: blocks {first} to {last} are not usable");
                table.flaws.push(why);
                continue;
            }
            let (words, _) = entry[56..128].as_chunks::<2>();
            let name = words.iter().map(|word| u16::from_le_bytes(*word));
            let name = char::decode_utf16(name.take_while(|unit| *unit != 0));
            let name = name.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            table.take(number, first * unit, (last - first + 1) * unit, name, bytes);
        }
        table
    }
}

#[cfg(test)]
mod tests;
