//! The real disk: preallocated files, direct and synchronous writes where the file system takes them, else `fdatasync`.

use crate::disk::{Disk, DiskFile};
use rustix::fs::{Advice, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether durable writes go past the page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DirectIo {
    /// Where the file system can.
    #[default]
    Auto,
    /// Never: write, then `fdatasync`.
    Off,
}

/// A directory of the file system. Whoever opens it owns it: it is not locked here.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    direct: DirectIo,
}

/// Makes a directory, and those above it that are missing, unless they are there. Their names outlive a power loss: what is synced in a
/// directory whose own name is lost is lost with it.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made = path.ancestors().take_while(missing).count();
    std::fs::create_dir_all(path)?;
    // One at least: who made it may have died before its name was safe.
    for parent in path.ancestors().skip(1).take(made.max(1)) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        match File::open(parent) {
            Ok(parent) => parent.sync_all()?,
            // Somebody else's, who made this one for us.
            Err(error) if made == 0 && error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Directory {
    /// The directory at `path`, made if it is not there.
    pub fn open(path: &Path, direct: DirectIo) -> io::Result<Self> {
        create_directory(path)?;
        Ok(Self {
            path: path.to_owned(),
            direct,
        })
    }

    fn file(&self, name: &str, file: File) -> io::Result<Arc<dyn DiskFile>> {
        let size = file.metadata()?.len();
        // Chunks are large enough. What the kernel read ahead of them, zeros of a hole too, would count as data from then on.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
        let direct = match self.direct {
            DirectIo::Off => None,
            DirectIo::Auto => self.open_direct(name),
        };
        Ok(Arc::new(SystemFile {
            path: self.path.join(name),
            file,
            direct,
            size,
        }))
    }

    /// A second descriptor for durable writes, if a direct read of the first block succeeds: some file systems take the flag
    /// and refuse the transfer.
    fn open_direct(&self, name: &str) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::DSYNC | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(self.path.join(name), flags, Mode::empty()).ok()?);
        let mut block = crate::aligned::AlignedBuffer::default();
        block.resize(crate::disk::BLOCK);
        file.read_at(block.as_mut_slice(), 0).ok().map(|_| file)
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.path)?
            .filter_map(|entry| {
                entry
                    .map(|entry| entry.file_name().into_string().ok())
                    .transpose()
            })
            .collect()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => file.set_len(size)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        File::open(&self.path)?.sync_all()?;
        self.file(name, file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        self.file(name, file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }
}

struct SystemFile {
    path: PathBuf,
    file: File,
    direct: Option<File>,
    size: u64,
}

impl SystemFile {
    /// Whoever has to look for the fault must know where.
    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

impl DiskFile for SystemFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => Some(at),
            Err(Errno::NXIO) => None,
            // a file system that does not know where its holes are
            Err(_) => Some(offset),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| self.named(&error))
    }

    fn write_durably_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = match &self.direct {
            Some(direct) => direct.write_all_at(bytes, offset),
            None => self
                .file
                .write_all_at(bytes, offset)
                .and_then(|()| self.file.sync_data()),
        };
        written.map_err(|error| self.named(&error))
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|error| self.named(&error))
    }

    fn clear(&self) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, 0, self.size) {
            Ok(()) => Ok(()),
            // A hole costs its blocks anew, which is as good here.
            Err(Errno::OPNOTSUPP) => {
                self.file.set_len(0)?;
                self.file.set_len(self.size)
            }
            Err(error) => Err(error.into()),
        }
    }
}
