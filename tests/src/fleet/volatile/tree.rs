//! Inodes and names, as programs see them and as a power loss leaves them, and what a sync does on this disk.
//!
//! As strict as POSIX lets a file system be: syncing a file says nothing of its name, and a directory that is not synced forgets what was
//! created, renamed or removed in it. No request of the kernel is known here.

use super::content::{BLOCK, Content};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

pub(super) type Number = u64;
pub(super) const ROOT: Number = 1;

/// What the disk pretends to hold.
pub(super) const CAPACITY: u64 = 64 << 30;

/// What becomes of a sync.
pub(super) enum Syncs {
    /// What it says is true.
    Done,
    /// It says that all is well and does nothing: a disk that lies.
    Ignored,
    /// It ends with an error where this says so.
    Failed(Box<dyn Fn(&Path) -> bool + Send>),
}

impl fmt::Debug for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Ignored => "Ignored",
            Self::Failed(_) => "Failed",
        })
    }
}

/// All of one disk.
#[derive(Debug)]
pub(super) struct Tree {
    inodes: BTreeMap<Number, Inode>,
    next: Number,
    pub(super) powered: bool,
    pub(super) syncs: Syncs,
    pub(super) failed: u64,
}

#[derive(Debug)]
struct Inode {
    node: Node,
    mode: u16,
    /// Names it has, for programs.
    links: u32,
    /// How often the kernel was told of it and has not forgotten it: open files are among them.
    known: u64,
}

#[derive(Debug)]
enum Node {
    File(Content),
    Directory(Directory),
}

#[derive(Debug, Default)]
struct Directory {
    entries: Entries,
    synced: Entries,
}

type Entries = BTreeMap<OsString, Number>;

/// What a program is told of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attributes {
    pub(super) number: Number,
    pub(super) directory: bool,
    pub(super) size: u64,
    pub(super) blocks: u64,
    pub(super) mode: u16,
    pub(super) links: u32,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Inode {
            node: Node::Directory(Directory::default()),
            mode: 0o755,
            links: 2,
            known: 0,
        };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            powered: true,
            syncs: Syncs::Done,
            failed: 0,
        }
    }

    fn inode(&self, number: Number) -> Result<&Inode, Errno> {
        if !self.powered {
            return Err(Errno::IO);
        }
        self.inodes.get(&number).ok_or(Errno::NOENT)
    }

    fn inode_mut(&mut self, number: Number) -> Result<&mut Inode, Errno> {
        if !self.powered {
            return Err(Errno::IO);
        }
        self.inodes.get_mut(&number).ok_or(Errno::NOENT)
    }

    pub(super) fn file(&self, number: Number) -> Result<&Content, Errno> {
        match &self.inode(number)?.node {
            Node::File(content) => Ok(content),
            Node::Directory(_) => Err(Errno::ISDIR),
        }
    }

    pub(super) fn file_mut(&mut self, number: Number) -> Result<&mut Content, Errno> {
        match &mut self.inode_mut(number)?.node {
            Node::File(content) => Ok(content),
            Node::Directory(_) => Err(Errno::ISDIR),
        }
    }

    /// Names in a directory and what they are.
    pub(super) fn entries(&self, number: Number) -> Result<&Entries, Errno> {
        match &self.inode(number)?.node {
            Node::Directory(directory) => Ok(&directory.entries),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn entries_mut(&mut self, number: Number) -> Result<&mut Entries, Errno> {
        match &mut self.inode_mut(number)?.node {
            Node::Directory(directory) => Ok(&mut directory.entries),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn attributes(&self, number: Number) -> Result<Attributes, Errno> {
        let inode = self.inode(number)?;
        let (directory, size, blocks) = match &inode.node {
            Node::File(content) => (false, content.size(), content.blocks()),
            Node::Directory(_) => (true, BLOCK, 1),
        };
        Ok(Attributes {
            number,
            directory,
            size,
            blocks,
            mode: inode.mode,
            links: inode.links,
        })
    }

    pub(super) fn set_mode(&mut self, number: Number, mode: u16) -> Result<(), Errno> {
        self.inode_mut(number)?.mode = mode;
        Ok(())
    }

    pub(super) fn blocks(&self) -> u64 {
        let of = |inode: &Inode| match &inode.node {
            Node::File(content) => content.blocks(),
            Node::Directory(_) => 1,
        };
        self.inodes.values().map(of).sum()
    }

    /// What a name stands for; the kernel knows it from now on.
    pub(super) fn look_up(&mut self, parent: Number, name: &OsStr) -> Result<Attributes, Errno> {
        let number = *self.entries(parent)?.get(name).ok_or(Errno::NOENT)?;
        self.inode_mut(number)?.known += 1;
        self.attributes(number)
    }

    pub(super) fn forget(&mut self, number: Number, times: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.known = inode.known.saturating_sub(times);
            if inode.known == 0 {
                self.sweep();
            }
        }
    }

    pub(super) fn create_file(
        &mut self,
        parent: Number,
        name: &OsStr,
        mode: u16,
    ) -> Result<Attributes, Errno> {
        self.create(parent, name, mode, Node::File(Content::default()))
    }

    pub(super) fn create_directory(
        &mut self,
        parent: Number,
        name: &OsStr,
        mode: u16,
    ) -> Result<Attributes, Errno> {
        self.create(parent, name, mode, Node::Directory(Directory::default()))
    }

    fn create(
        &mut self,
        parent: Number,
        name: &OsStr,
        mode: u16,
        node: Node,
    ) -> Result<Attributes, Errno> {
        let number = self.next;
        let links = match node {
            Node::File(_) => 1,
            Node::Directory(_) => 2,
        };
        let entries = self.entries_mut(parent)?;
        if entries.contains_key(name) {
            return Err(Errno::EXIST);
        }
        entries.insert(name.to_owned(), number);
        let inode = Inode {
            node,
            mode,
            links,
            known: 1,
        };
        self.inodes.insert(number, inode);
        self.next += 1;
        self.attributes(number)
    }

    pub(super) fn link(
        &mut self,
        number: Number,
        parent: Number,
        name: &OsStr,
    ) -> Result<Attributes, Errno> {
        self.file(number)?;
        let entries = self.entries_mut(parent)?;
        if entries.contains_key(name) {
            return Err(Errno::EXIST);
        }
        entries.insert(name.to_owned(), number);
        let inode = self.inode_mut(number)?;
        inode.links += 1;
        inode.known += 1;
        self.attributes(number)
    }

    pub(super) fn remove_file(&mut self, parent: Number, name: &OsStr) -> Result<(), Errno> {
        let number = *self.entries(parent)?.get(name).ok_or(Errno::NOENT)?;
        let content = self.inode_mut(number)?;
        match content.node {
            Node::File(_) => content.links -= 1,
            Node::Directory(_) => return Err(Errno::ISDIR),
        }
        self.entries_mut(parent)?.remove(name);
        Ok(())
    }

    pub(super) fn remove_directory(&mut self, parent: Number, name: &OsStr) -> Result<(), Errno> {
        let number = *self.entries(parent)?.get(name).ok_or(Errno::NOENT)?;
        if !self.entries(number)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.entries_mut(parent)?.remove(name);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        (parent, name): (Number, &OsStr),
        (new_parent, new_name): (Number, &OsStr),
        replace: bool,
    ) -> Result<(), Errno> {
        let number = *self.entries(parent)?.get(name).ok_or(Errno::NOENT)?;
        match self.entries(new_parent)?.get(new_name) {
            Some(_) if !replace => return Err(Errno::EXIST),
            Some(&other) if self.file(other).is_ok() => self.remove_file(new_parent, new_name)?,
            Some(_) => self.remove_directory(new_parent, new_name)?,
            None => {}
        }
        self.entries_mut(parent)?.remove(name);
        self.entries_mut(new_parent)?
            .insert(new_name.to_owned(), number);
        Ok(())
    }

    /// All that a file or a directory has is on the disk.
    pub(super) fn sync(&mut self, number: Number) -> Result<(), Errno> {
        let happens = self.may_sync(number);
        match (&mut self.inode_mut(number)?.node, happens) {
            (_, Ok(false)) | (Node::Directory(_), Err(_)) => {}
            (Node::File(content), Ok(true)) => content.sync(),
            (Node::File(content), Err(_)) => content.give_up(),
            (Node::Directory(directory), Ok(true)) => {
                directory.synced.clone_from(&directory.entries);
                self.sweep();
            }
        }
        happens.map(drop)
    }

    /// Whether a sync of it does anything, or fails.
    fn may_sync(&mut self, number: Number) -> Result<bool, Errno> {
        let path = || self.path(ROOT, number, Path::new("")).unwrap_or_default();
        let (happens, failed) = match &self.syncs {
            Syncs::Ignored => (Ok(false), 0),
            Syncs::Failed(fails) if fails(&path()) => (Err(Errno::IO), 1),
            Syncs::Done | Syncs::Failed(_) => (Ok(true), 0),
        };
        self.failed += failed;
        happens
    }

    /// One of its names, from the root of this disk.
    fn path(&self, below: Number, number: Number, so_far: &Path) -> Option<PathBuf> {
        if below == number {
            return Some(so_far.to_owned());
        }
        let mut entries = self.entries(below).ok()?.iter();
        entries.find_map(|(name, &entry)| self.path(entry, number, &so_far.join(name)))
    }

    /// The power fails: all is as it was synced, but for the changes that `survives` lets survive. Nothing works until it is back.
    pub(super) fn lose_power(&mut self, survives: &mut dyn FnMut() -> bool) {
        self.powered = false;
        for inode in self.inodes.values_mut() {
            match &mut inode.node {
                Node::File(content) => content.lose(survives),
                Node::Directory(directory) => directory.lose(survives),
            }
        }
    }

    /// The power is back, and the kernel knows nothing any more.
    pub(super) fn power_on(&mut self) {
        self.powered = true;
        for inode in self.inodes.values_mut() {
            inode.known = 0;
        }
        self.sweep();
        let mut links: BTreeMap<Number, u32> = BTreeMap::new();
        for inode in self.inodes.values() {
            if let Node::Directory(directory) = &inode.node {
                for &number in directory.entries.values() {
                    *links.entry(number).or_default() += 1;
                }
            }
        }
        for (number, inode) in &mut self.inodes {
            if let Node::File(_) = inode.node {
                inode.links = links.get(number).copied().unwrap_or(0);
            }
        }
    }

    /// Drops what no name leads to, neither now nor after a power loss, and nobody has open.
    fn sweep(&mut self) {
        let known = self.inodes.iter().filter(|(_, inode)| inode.known > 0);
        let mut open: Vec<Number> = known.map(|(&number, _)| number).chain([ROOT]).collect();
        let mut reached = BTreeSet::new();
        while let Some(number) = open.pop() {
            if reached.insert(number)
                && let Some(Node::Directory(directory)) =
                    self.inodes.get(&number).map(|inode| &inode.node)
            {
                open.extend(directory.entries.values().chain(directory.synced.values()));
            }
        }
        self.inodes.retain(|number, _| reached.contains(number));
    }
}

impl Directory {
    fn lose(&mut self, survives: &mut dyn FnMut() -> bool) {
        let names: BTreeSet<_> = self.entries.keys().chain(self.synced.keys()).collect();
        let mut left = Entries::new();
        for name in names {
            let (now, synced) = (self.entries.get(name), self.synced.get(name));
            let kept = if now != synced && survives() {
                now
            } else {
                synced
            };
            left.extend(kept.map(|&number| (name.clone(), number)));
        }
        self.synced.clone_from(&left);
        self.entries = left;
    }
}
