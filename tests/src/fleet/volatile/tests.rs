//! The volatile disk through real system calls: what is synced stays, what is not goes, and everything that a store does works.

use super::VolatileDisk;
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Drops in this order.
struct Mounted {
    disk: VolatileDisk,
    _directory: TempDir,
}

fn mounted() -> Mounted {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = VolatileDisk::create(directory.path().join("disk")).expect("FUSE needs root");
    Mounted {
        disk,
        _directory: directory,
    }
}

impl Mounted {
    fn at(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn power_cycle(&mut self) {
        self.disk.lose_power();
        self.disk.restore_power().expect("nobody uses it");
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a healthy disk");
    sync(path).expect("a healthy disk");
    sync(path.parent().expect("it is in a directory")).expect("a healthy disk");
}

/// A write to whole blocks, past the kernel's cache and durable on return, as the commit log does it.
fn write_direct(path: &Path, offset: u64, byte: u8) -> io::Result<()> {
    #[repr(align(4096))]
    struct Aligned([u8; 8192]);
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::DSYNC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    file.write_all_at(&Aligned([byte; 8192]).0, offset)
}

#[test]
fn bytes_that_were_not_synced_are_lost_and_those_that_were_are_not() {
    let mut it = mounted();
    let path = it.at("file");
    write_synced(&path, b"synced and overwritten");
    let file = File::options().write(true).open(&path).expect("there");
    file.write_all_at(b"SYNCED", 0).expect("written");
    file.sync_data().expect("synced");
    file.write_all_at(b"lost", 11).expect("written");
    file.write_all_at(&[1; 10_000], 22).expect("written");
    assert_eq!(fs::read(&path).expect("there").len(), 10_022);
    drop(file);
    it.power_cycle();
    let left = fs::read(&path).expect("there");
    assert_eq!(left, b"SYNCED and overwritten");
}

#[test]
fn a_file_is_no_longer_or_shorter_than_it_was_synced() {
    let mut it = mounted();
    let path = it.at("file");
    let bytes: Vec<u8> = (0..20_000_u32).map(|at| (at % 251) as u8).collect();
    write_synced(&path, &bytes);
    let file = File::options().write(true).open(&path).expect("there");
    file.set_len(5000).expect("shorter");
    file.set_len(9000).expect("longer again");
    let now = fs::read(&path).expect("there");
    // No assert_eq: nobody wants to read twenty thousand numbers.
    assert!(now[..5000] == bytes[..5000]);
    assert!(now[5000..].iter().all(|&byte| byte == 0) && now.len() == 9000);
    drop(file);
    it.power_cycle();
    assert!(fs::read(&path).expect("there") == bytes);
    fs::write(&path, b"short").expect("written");
    sync(&path).expect("synced");
    it.power_cycle();
    assert_eq!(fs::read(&path).expect("there"), b"short");
}

#[test]
fn what_was_written_into_preallocated_room_and_not_synced_is_a_hole_again() {
    let mut it = mounted();
    let path = it.at("segment");
    write_synced(&path, b"");
    let file = File::options().write(true).open(&path).expect("there");
    fallocate(&file, FallocateFlags::empty(), 0, 16_384).expect("taken");
    file.sync_all().expect("synced");
    file.write_all_at(&[1; 4096], 4096).expect("written");
    drop(file);
    it.power_cycle();
    assert!(fs::read(&path).expect("there") == [0; 16_384]);
    assert_eq!(fs::metadata(&path).expect("there").blocks(), 0);
}

#[test]
fn a_synchronous_write_is_durable_and_so_is_nothing_else() {
    let mut it = mounted();
    let path = it.at("log");
    write_synced(&path, &[7; 16_384]);
    let buffered = File::options().write(true).open(&path).expect("there");
    buffered.write_all_at(&[8; 4096], 0).expect("written");
    write_direct(&path, 4096, 9).expect("written");
    // The program sees both.
    let seen = fs::read(&path).expect("there");
    assert_eq!((seen[0], seen[4096], seen[12_288]), (8, 9, 7));
    drop(buffered);
    // The kernel syncs the whole file after such a write; a write after it is lost.
    let buffered = File::options().write(true).open(&path).expect("there");
    buffered.write_all_at(&[10; 4096], 0).expect("written");
    drop(buffered);
    it.power_cycle();
    let left = fs::read(&path).expect("there");
    assert_eq!((left[0], left[4096], left[12_288]), (8, 9, 7));
}

#[test]
fn a_name_is_lost_unless_its_directory_was_synced_however_well_its_file_was() {
    let mut it = mounted();
    fs::create_dir(it.at("folder")).expect("made");
    sync(it.disk.path()).expect("synced");
    for name in ["kept", "removed", "renamed"] {
        write_synced(&it.at("folder").join(name), name.as_bytes());
    }
    let inside = |name: &str| it.at("folder").join(name);
    fs::write(inside("new"), b"new").expect("written");
    sync(&inside("new")).expect("synced");
    fs::remove_file(inside("removed")).expect("removed");
    fs::rename(inside("renamed"), inside("other")).expect("renamed");
    fs::create_dir(inside("deep")).expect("made");
    write_synced(
        &inside("deep").join("file"),
        b"in a folder whose name is lost",
    );
    assert_eq!(names(&it.at("folder")), ["deep", "kept", "new", "other"]);
    it.power_cycle();
    assert_eq!(names(&it.at("folder")), ["kept", "removed", "renamed"]);
    for name in ["kept", "removed", "renamed"] {
        let read = fs::read(it.at("folder").join(name)).expect("there");
        assert_eq!(read, name.as_bytes());
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("read").file_name();
    let mut names: Vec<_> = entries.map(name).map(OsString::into_string).collect();
    names.sort();
    names.into_iter().map(|name| name.expect("ASCII")).collect()
}

#[test]
fn a_renamed_file_replaces_another_for_good_once_the_directory_is_synced() {
    let mut it = mounted();
    let (old, new) = (it.at("CURRENT"), it.at("CURRENT.new"));
    write_synced(&old, b"1");
    fs::write(&new, b"2").expect("written");
    sync(&new).expect("synced");
    fs::rename(&new, &old).expect("renamed");
    assert_eq!(fs::read(&old).expect("there"), b"2");
    it.power_cycle();
    assert_eq!(fs::read(&old).expect("there"), b"1");
    fs::write(&new, b"3").expect("written");
    sync(&new).expect("synced");
    fs::rename(&new, &old).expect("renamed");
    sync(it.disk.path()).expect("synced");
    it.power_cycle();
    assert_eq!(fs::read(&old).expect("there"), b"3");
    assert_eq!(names(it.disk.path()), ["CURRENT"]);
}

#[test]
fn hard_links_share_bytes_and_whole_trees_can_be_removed() {
    let mut it = mounted();
    write_synced(&it.at("one"), b"shared");
    fs::create_dir(it.at("checkpoint")).expect("made");
    fs::hard_link(it.at("one"), it.at("checkpoint/two")).expect("linked");
    assert_eq!(fs::metadata(it.at("one")).expect("there").nlink(), 2);
    for number in 0..500 {
        fs::write(it.at(&format!("checkpoint/file-{number}")), b"x").expect("written");
    }
    sync(&it.at("checkpoint")).expect("synced");
    sync(it.disk.path()).expect("synced");
    fs::remove_file(it.at("one")).expect("removed");
    sync(it.disk.path()).expect("synced");
    it.power_cycle();
    assert_eq!(fs::read(it.at("checkpoint/two")).expect("there"), b"shared");
    let linked = fs::metadata(it.at("checkpoint/two")).expect("there");
    assert_eq!(linked.nlink(), 1);
    assert_eq!(names(&it.at("checkpoint")).len(), 501);
    assert!(fs::remove_dir(it.at("checkpoint")).is_err());
    fs::remove_dir_all(it.at("checkpoint")).expect("removed");
    assert!(names(it.disk.path()).is_empty());
}

#[test]
fn an_open_file_lives_on_without_its_name() {
    let it = mounted();
    let path = it.at("file");
    let mut file = File::create_new(&path).expect("made");
    file.write_all(b"still here").expect("written");
    fs::remove_file(&path).expect("removed");
    sync(it.disk.path()).expect("synced");
    let mut reopened = File::create(&path).expect("made");
    reopened.write_all(b"another").expect("written");
    let mut back = [0; 10];
    // Past the kernel's cache, which would know it without asking.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("taken");
    let reader = File::open(format!("/proc/self/fd/{}", number(&file))).expect("open");
    { reader }.read_exact(&mut back).expect("there");
    assert_eq!(&back, b"still here");
}

fn number(file: &File) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd()
}

#[test]
fn preallocated_room_is_a_hole_until_it_is_written_and_can_be_cleared() {
    let it = mounted();
    let path = it.at("segment");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("made");
    let size = 256 << 20;
    fallocate(&file, FallocateFlags::empty(), 0, size).expect("taken");
    assert_eq!(file.metadata().expect("there").len(), size);
    assert_eq!(file.metadata().expect("there").blocks(), 0);
    assert_eq!(seek(&file, SeekFrom::Data(0)), Err(Errno::NXIO));
    file.write_all_at(&[1; 4096], 8192).expect("written");
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(8192));
    assert_eq!(seek(&file, SeekFrom::Hole(8192)), Ok(12_288));
    fallocate(&file, FallocateFlags::KEEP_SIZE, size, size).expect("taken");
    assert_eq!(file.metadata().expect("there").len(), size);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 0, size).expect("cleared");
    assert_eq!(seek(&file, SeekFrom::Data(0)), Err(Errno::NXIO));
    file.write_all_at(&[2; 8192], 0).expect("written");
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 2048, 4096).expect("punched");
    let mut bytes = [0; 8192];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert!(
        bytes[..2048]
            .iter()
            .chain(&bytes[6144..])
            .all(|&it| it == 2)
    );
    assert!(bytes[2048..6144].iter().all(|&it| it == 0));
}

#[test]
fn syncs_fail_where_they_are_to_fail_and_what_they_gave_up_is_never_durable() {
    let mut it = mounted();
    for log in ["a.log", "direct.log"] {
        write_synced(&it.at(log), &[0; 16_384]);
    }
    write_synced(&it.at("b.sst"), b"b");
    it.disk
        .fail_syncs(|path| path.extension().is_some_and(|end| end == "log"));
    assert!(write_direct(&it.at("direct.log"), 0, 2).is_err());
    let log = File::options().write(true).open(it.at("a.log"));
    let log = log.expect("there");
    log.write_all_at(&[1; 4096], 8192).expect("written");
    let error = log.sync_data().expect_err("it fails");
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert_eq!(it.disk.failed_syncs(), 2);
    fs::write(it.at("b.sst"), b"B").expect("written");
    sync(&it.at("b.sst")).expect("another file's sync works");
    it.disk.mend();
    // Says that it worked, as the kernel would: the error was told once.
    log.sync_data().expect("it works again");
    sync(&it.at("direct.log")).expect("it works again");
    log.write_all_at(&[3; 4096], 4096).expect("written");
    log.sync_data().expect("it works again");
    drop(log);
    it.power_cycle();
    let left = fs::read(it.at("a.log")).expect("there");
    let blocks: Vec<u8> = left.chunks(4096).map(|block| block[0]).collect();
    assert_eq!(blocks, [0, 3, 0, 0]);
    assert_eq!(fs::read(it.at("direct.log")).expect("there")[0], 0);
    assert_eq!(fs::read(it.at("b.sst")).expect("there"), b"B");
}

#[test]
fn a_lying_disk_keeps_nothing_and_a_disk_without_power_does_nothing() {
    let mut it = mounted();
    write_synced(&it.at("file"), b"before");
    it.disk.ignore_syncs();
    write_synced(&it.at("file"), b"after!");
    write_synced(&it.at("new"), b"new");
    it.disk.lose_power();
    assert!(fs::write(it.at("more"), b"more").is_err());
    assert!(sync(&it.at("file")).is_err());
    it.disk.restore_power().expect("nobody uses it");
    assert_eq!(fs::read(it.at("file")).expect("there"), b"before");
    assert_eq!(names(it.disk.path()), ["file"]);
}

#[test]
fn of_what_was_not_synced_any_part_may_survive() {
    let mut it = mounted();
    write_synced(&it.at("file"), &[0; 16_384]);
    let file = File::options().write(true).open(it.at("file"));
    let file = file.expect("there");
    file.write_all_at(&[1; 16_384], 0).expect("written");
    fs::write(it.at("x"), b"").expect("written");
    fs::write(it.at("y"), b"").expect("written");
    drop(file);
    let mut coin = false;
    it.disk.lose_power_but(|| {
        coin = !coin;
        coin
    });
    it.disk.restore_power().expect("nobody uses it");
    let left = fs::read(it.at("file")).expect("there");
    let blocks: Vec<u8> = left.chunks(4096).map(|block| block[0]).collect();
    assert_eq!(blocks.iter().map(|&byte| u32::from(byte)).sum::<u32>(), 2);
    assert_eq!(names(it.disk.path()).len(), 2);
}

#[test]
fn a_block_that_survives_behind_an_end_that_does_not_is_gone() {
    let mut it = mounted();
    let path = it.at("file");
    write_synced(&path, &[1; 4096]);
    let file = File::options().write(true).open(&path).expect("there");
    file.write_all_at(&[2; 4096], 4096).expect("written");
    drop(file);
    // The block is asked for first.
    let mut asked = 0;
    it.disk.lose_power_but(|| {
        asked += 1;
        asked == 1
    });
    it.disk.restore_power().expect("nobody uses it");
    assert_eq!(
        (asked, fs::metadata(&path).expect("there").len()),
        (2, 4096)
    );
    let file = File::options().write(true).open(&path).expect("there");
    file.set_len(8192).expect("longer");
    assert!(fs::read(&path).expect("there")[4096..] == [0; 4096]);
}
