//! A disk in memory that loses what was not synced, tears what was being written, flips bits and fails on demand. For tests and the
//! deterministic simulator: the same seed gives the same bytes.

use crate::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What a power loss tears writes into.
const SECTOR: usize = 512;

/// A directory in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Contents>,
    /// Operations until the disk stops for good; the one that meets zero is torn.
    fuse: Option<u64>,
    operations: u64,
    torn: Option<u64>,
}

#[derive(Default)]
struct Contents {
    /// As programs read it.
    seen: Vec<u8>,
    /// As it is after a power loss, but for what was written since.
    durable: Vec<u8>,
    /// Writes since the last sync: offset and bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// Steps a pseudo-random sequence (splitmix64).
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SimulatedDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// After `operations` more writes and syncs the next one is torn and all fail from then on, until [`SimulatedDisk::power_loss`]
    /// or [`SimulatedDisk::mend`].
    pub fn fail_after(&self, operations: u64) {
        self.lock().fuse = Some(operations);
    }

    /// Works again. Contents as programs saw them.
    pub fn mend(&self) {
        self.lock().fuse = None;
    }

    /// Writes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The machine goes down: of every unsynced write each sector survives or does not, as `seed` says. Works again after.
    pub fn power_loss(&self, mut seed: u64) {
        let mut state = self.lock();
        state.fuse = None;
        let behind = |contents: &&mut Contents| !contents.unsynced.is_empty();
        for contents in state.files.values_mut().filter(behind) {
            for (offset, bytes) in std::mem::take(&mut contents.unsynced) {
                let keep_all = random(&mut seed).is_multiple_of(4);
                let mut at = 0;
                while at < bytes.len() {
                    let until =
                        ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len());
                    if keep_all || random(&mut seed).is_multiple_of(2) {
                        contents.durable[offset + at..offset + until]
                            .copy_from_slice(&bytes[at..until]);
                    }
                    at = until;
                }
            }
            contents.seen.clone_from(&contents.durable);
        }
    }

    /// Names and sizes of the files.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.lock();
        state
            .files
            .iter()
            .map(|(name, contents)| (name.clone(), contents.seen.len()))
            .collect()
    }

    /// A file's bytes as programs see them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.lock()
            .files
            .get(name)
            .map(|contents| contents.seen.clone())
    }

    /// Changes a byte of a file behind everybody's back, durably; says whether it was there.
    pub fn corrupt(&self, name: &str, offset: usize, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(contents) = state.files.get_mut(name) else {
            return false;
        };
        let Some(byte) = contents.seen.get_mut(offset) else {
            return false;
        };
        *byte ^= mask;
        contents.durable[offset] = *byte;
        true
    }

    /// A disk with the same files, fully synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for (name, contents) in &self.lock().files {
            let (seen, durable) = (contents.seen.clone(), contents.seen.clone());
            copy.lock().files.insert(
                name.clone(),
                Contents {
                    seen,
                    durable,
                    unsynced: Vec::new(),
                },
            );
        }
        copy
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        crate::tail::lock(&self.state)
    }
}

impl State {
    /// Counts an operation. `Err` with how many bytes of it still happen.
    fn operate(&mut self, length: usize) -> Result<(), usize> {
        self.operations += 1;
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => {
                let first = self.torn.replace(self.operations).is_none();
                Err(if first {
                    length / 2 / SECTOR * SECTOR
                } else {
                    0
                })
            }
            Some(left) => {
                *left -= 1;
                self.torn = None;
                Ok(())
            }
        }
    }

    fn contents(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files
            .get_mut(name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

fn broken() -> io::Error {
    io::Error::other("the simulated disk has failed")
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.operate(0).map_err(|_| broken())?;
        let contents = Contents {
            seen: vec![0; size as usize],
            durable: vec![0; size as usize],
            unsynced: Vec::new(),
        };
        state.files.insert(name.to_owned(), contents);
        drop(state);
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let size = self.lock().contents(name)?.seen.len() as u64;
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            name: name.to_owned(),
            size,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(0).map_err(|_| broken())?;
        state
            .files
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    name: String,
    size: u64,
}

impl SimulatedFile {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let outcome = state.operate(bytes.len());
        let done = *outcome.as_ref().err().unwrap_or(&bytes.len());
        let contents = state.contents(&self.name)?;
        let (start, bytes) = (offset as usize, &bytes[..done]);
        let target = contents
            .seen
            .get_mut(start..start + done)
            .ok_or(io::ErrorKind::InvalidInput)?;
        target.copy_from_slice(bytes);
        contents.unsynced.push((start, bytes.to_vec()));
        outcome.map_err(|_| broken())
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let contents = state.contents(&self.name)?;
        let there = contents.seen.get(offset as usize..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)
    }

    fn write_durably_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate(0).map_err(|_| broken())?;
        let contents = state.contents(&self.name)?;
        for (offset, bytes) in std::mem::take(&mut contents.unsynced) {
            contents.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.write(0, &vec![0; self.size as usize])
    }
}
