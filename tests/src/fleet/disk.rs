//! A disk for one server: a small ext4 file system in an image, which can be filled, can hang, and can lose power.
//!
//! Losing power is the kernel's own test switch: the file system stops at once, its journal unwritten. Mounted again it has what was
//! synced, and nothing else but what the kernel happened to write by itself: RocksDB's files and the log's alike.

use crate::process;
use crate::program::run;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted image. Needs root.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

const FILLER: &str = "filler";

impl Disk {
    /// A new disk of so many MiB, its image and mount point in `directory`.
    pub fn create(directory: &Path, name: &str, mebibytes: u64) -> Result<Self, String> {
        let disk = Self {
            image: directory.join(format!("{name}.image")),
            mount: directory.join(name),
        };
        let made = File::create(&disk.image).and_then(|image| image.set_len(mebibytes << 20));
        made.and_then(|()| std::fs::create_dir_all(&disk.mount))
            .map_err(|error| format!("{}: {error}", disk.image.display()))?;
        tool(
            Command::new("mkfs.ext4")
                .arg("-q")
                .arg("-m0")
                .arg(&disk.image),
        )?;
        disk.attach()?;
        Ok(disk)
    }

    /// Where servers may write.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Mounts it, replaying its journal.
    pub fn attach(&self) -> Result<(), String> {
        tool(
            Command::new("mount")
                .arg("-o")
                .arg("loop")
                .arg(&self.image)
                .arg(&self.mount),
        )
    }

    /// Unmounts it. Its users must be gone.
    pub fn detach(&self) -> Result<(), String> {
        tool(Command::new("umount").arg(&self.mount))
    }

    /// Everything unsynced is lost, now; writes fail until it is detached and attached again.
    pub fn lose_power(&self) -> io::Result<()> {
        shutdown::without_journal(&File::open(&self.mount)?)
    }

    /// Leaves no room. Returns the bytes it took.
    pub fn fill(&self) -> io::Result<u64> {
        let filler = File::create(self.mount.join(FILLER))?;
        let (mut taken, mut piece) = (0, 64 << 20);
        while piece >= 4096 {
            match rustix::fs::fallocate(&filler, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }

    /// Gives the room back.
    pub fn free(&self) -> io::Result<()> {
        match std::fs::remove_file(self.mount.join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Disk {
    /// Lets every write wait, until [`thaw`](Self::thaw). Who writes cannot be killed meanwhile. What was written before is synced first.
    pub fn freeze(&self) -> Result<(), String> {
        tool(Command::new("fsfreeze").arg("-f").arg(&self.mount))
    }

    /// Lets writes go on, if they wait.
    pub fn thaw(&self) {
        thaw(&self.mount);
    }
}

fn thaw(mount: &Path) {
    // It says so where nothing is frozen.
    let _ = Command::new("fsfreeze").arg("-u").arg(mount).output();
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is still dying may hold it for a moment.
        let _ = tool(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

/// Takes away what runs left that were killed: directories in `parent` named by a prefix and a process that is gone.
pub fn remove_leftovers(parent: &Path, prefix: &str) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_none_or(process::lives) {
            continue;
        }
        // Not every one is a mount point; those that are must not be emptied through it.
        for inside in std::fs::read_dir(entry.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            thaw(&inside.path());
            let _ = Command::new("umount")
                .arg("-lq")
                .arg(inside.path())
                .output();
        }
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let ended = run(command);
    let said = || format!("{command:?}: {}", ended.stderr.trim());
    ended.status.success().then_some(()).ok_or_else(said)
}

mod shutdown {
    #![expect(unsafe_code, reason = "the kernel's switch has no safe wrapper")]
    use rustix::ioctl::{Setter, ioctl, opcode};
    use std::fs::File;
    use std::io;

    /// `FS_IOC_SHUTDOWN` of linux/fs.h.
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    /// `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`.
    const NO_LOG_FLUSH: u32 = 2;

    pub(super) fn without_journal(mount: &File) -> io::Result<()> {
        // SAFETY: the kernel reads one u32 through the pointer, which is what Setter passes.
        unsafe { ioctl(mount, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }.map_err(Into::into)
    }
}
