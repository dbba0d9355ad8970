//! One volatile disk, from outside: mounted, robbed of its power, told to fail.

use super::serve::{Served, lock};
use super::tree::{Syncs, Tree};
use fuser::{BackgroundSession, Config, MountOption};
use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A mounted disk in the memory of this process, which ends with it. Needs root and a kernel with FUSE.
#[derive(Debug)]
pub struct VolatileDisk {
    path: PathBuf,
    tree: Arc<Mutex<Tree>>,
    session: Option<BackgroundSession>,
}

impl VolatileDisk {
    /// A new one, mounted at `path`, which is made.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let mut disk = Self {
            path,
            tree: Arc::new(Mutex::new(Tree::new())),
            session: None,
        };
        disk.attach()?;
        Ok(disk)
    }

    /// Where servers may write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything unsynced is lost, now; nothing works until [`restore_power`](Self::restore_power).
    pub fn lose_power(&self) {
        self.lose_power_but(|| false);
    }

    /// The same, but that each unsynced change of a block or a name is asked for: it may have reached the disk all the same.
    pub fn lose_power_but(&self, mut survives: impl FnMut() -> bool) {
        lock(&self.tree).lose_power(&mut survives);
    }

    /// Works again, with what was left; the kernel has forgotten all that it knew of it. Its users must be gone.
    pub fn restore_power(&mut self) -> io::Result<()> {
        self.detach()?;
        lock(&self.tree).power_on();
        self.attach()
    }

    /// From now on syncs of files and directories whose path on this disk `fails` picks end with an error, and so do synchronous writes.
    pub fn fail_syncs(&self, fails: impl Fn(&Path) -> bool + Send + 'static) {
        lock(&self.tree).syncs = Syncs::Failed(Box::new(fails));
    }

    /// From now on every sync is said to have worked, and does nothing.
    pub fn ignore_syncs(&self) {
        lock(&self.tree).syncs = Syncs::Ignored;
    }

    /// Syncs work again.
    pub fn mend(&self) {
        lock(&self.tree).syncs = Syncs::Done;
    }

    /// How many syncs have failed.
    pub fn failed_syncs(&self) -> u64 {
        lock(&self.tree).failed
    }

    fn attach(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("volatile".to_owned()),
            MountOption::DefaultPermissions,
        ];
        let served = Served::new(Arc::clone(&self.tree));
        self.session = Some(fuser::spawn_mount(served, &self.path, &config)?);
        Ok(())
    }

    fn detach(&mut self) -> io::Result<()> {
        if let Some(session) = self.session.take() {
            unmount(&self.path, UnmountFlags::empty())?;
            session.join()?;
        }
        Ok(())
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        // Lazily: a server that is still dying may hold it for a moment, so its threads are not waited for.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}
