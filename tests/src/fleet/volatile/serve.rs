//! The kernel's requests, each answered by the tree.
//!
//! Everything comes through this one mount, so the kernel may remember what it was told for as long as it likes. It writes nothing late:
//! what a program wrote is here before its write returns, and locks and mapped reads are the kernel's own business.

use super::content::BLOCK;
use super::tree::{Attributes, CAPACITY, Number, Tree};
use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

const FOR_EVER: Duration = Duration::from_hours(24);
/// Numbers of inodes are never used again.
const GENERATION: Generation = Generation(0);
/// `lseek`: the next byte that is no hole, the next hole.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// A disk, for the kernel.
#[derive(Debug)]
pub(super) struct Served {
    tree: Arc<Mutex<Tree>>,
    /// Directories as they were when they were opened: who removes files while it lists them must not miss any.
    listings: Mutex<Listings>,
}

#[derive(Debug, Default)]
struct Listings {
    next: u64,
    open: BTreeMap<u64, Vec<(OsString, Attributes)>>,
}

impl Served {
    pub(super) fn new(tree: Arc<Mutex<Tree>>) -> Self {
        Self {
            tree,
            listings: Mutex::default(),
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }

    fn list(&self, number: Number) -> Result<FileHandle, Errno> {
        let tree = self.tree();
        let named =
            |(name, &number): (&OsString, &Number)| Ok((name.clone(), tree.attributes(number)?));
        let entries = tree.entries(number)?.iter().map(named);
        let listing: Vec<_> = entries.collect::<Result<_, Errno>>()?;
        let mut listings = lock(&self.listings);
        listings.next += 1;
        let handle = listings.next;
        listings.open.insert(handle, listing);
        Ok(FileHandle(handle))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking test did to it before does not matter to those that end now.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn attr(of: Attributes) -> FileAttr {
    let Attributes {
        number,
        directory,
        size,
        blocks,
        mode,
        links,
    } = of;
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: blocks * (BLOCK / 512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(directory),
        perm: mode,
        nlink: links,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    }
}

fn kind(directory: bool) -> FileType {
    if directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

fn permissions(mode: u32, umask: u32) -> u16 {
    (mode & !umask & 0o7777) as u16
}

fn entry(reply: ReplyEntry, found: Result<Attributes, Errno>) {
    match found {
        Ok(found) => reply.entry(&FOR_EVER, &attr(found), GENERATION),
        Err(error) => reply.error(told(error)),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(error)),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.tree().look_up(parent.0, name));
    }

    fn forget(&self, _: &Request, inode: INodeNo, times: u64) {
        self.tree().forget(inode.0, times);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().attributes(inode.0) {
            Ok(found) => reply.attr(&FOR_EVER, &attr(found)),
            Err(error) => reply.error(told(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let mut set = || {
            if let Some(size) = size {
                tree.file_mut(inode.0)?.resize(size);
            }
            if let Some(mode) = mode {
                tree.set_mode(inode.0, permissions(mode, 0))?;
            }
            tree.attributes(inode.0)
        };
        match set() {
            Ok(found) => reply.attr(&FOR_EVER, &attr(found)),
            Err(error) => reply.error(told(error)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = permissions(mode, umask);
        entry(reply, self.tree().create_directory(parent.0, name, mode));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mode = permissions(mode, umask);
        match self.tree().create_file(parent.0, name, mode) {
            Ok(made) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
                reply.created(&FOR_EVER, &attr(made), GENERATION, handle, flags);
            }
            Err(error) => reply.error(told(error)),
        }
    }

    fn link(&self, _: &Request, inode: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.tree().link(inode.0, parent.0, name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove_file(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove_directory(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(fuser::Errno::EINVAL);
        }
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        empty(reply, self.tree().rename(from, to, flags.is_empty()));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree().file(inode.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(told(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree().file(inode.0) {
            Ok(content) => reply.data(&content.read(offset, size.into())),
            Err(error) => reply.error(told(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.tree();
        // O_SYNC has the bit of O_DSYNC in it. Some kernels ask for a sync behind such a write as well, some do not.
        let durably = OFlags::from_bits_retain(flags.0 as u32).contains(OFlags::DSYNC);
        let written = tree
            .file_mut(inode.0)
            .map(|content| content.write(offset, data));
        let done = match written {
            Ok(()) if durably => tree.sync(inode.0),
            written => written,
        };
        match done {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(told(error)),
        }
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.tree().sync(inode.0));
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.tree().sync(inode.0));
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut tree = self.tree();
        let content = match tree.file_mut(inode.0) {
            Ok(content) => content,
            Err(error) => return reply.error(told(error)),
        };
        let mode = FallocateFlags::from_bits_retain(mode as u32);
        let (keep, end) = (FallocateFlags::KEEP_SIZE, offset.saturating_add(length));
        let clears = FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        if !(mode - keep - clears).is_empty() {
            return reply.error(fuser::Errno::EOPNOTSUPP);
        }
        if mode.intersects(clears) {
            content.clear(offset..end);
        }
        if !mode.contains(keep) {
            content.reach(end);
        }
        reply.ok();
    }

    fn lseek(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let tree = self.tree();
        let (content, Ok(offset)) = (tree.file(inode.0), u64::try_from(offset)) else {
            return reply.error(fuser::Errno::ENXIO);
        };
        let found = content.and_then(|content| match whence {
            SEEK_DATA => content.next_data(offset).ok_or(Errno::NXIO),
            SEEK_HOLE => content.next_hole(offset).ok_or(Errno::NXIO),
            _ => Err(Errno::INVAL),
        });
        match found {
            Ok(at) => reply.offset(at as i64),
            Err(error) => reply.error(told(error)),
        }
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.list(inode.0) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(told(error)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listings = lock(&self.listings);
        let listing = listings.open.get(&handle.0);
        let entries = listing.into_iter().flatten().zip(1..);
        for ((name, of), next) in entries.skip(offset as usize) {
            if reply.add(INodeNo(of.number), next, kind(of.directory), name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        lock(&self.listings).open.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let all = CAPACITY / BLOCK;
        let free = all.saturating_sub(self.tree().blocks());
        let block = BLOCK as u32;
        reply.statfs(all, free, free, 1 << 20, 1 << 20, block, 255, block);
    }
}
