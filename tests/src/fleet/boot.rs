//! The machine's boot, as one server believes in it: a small library (`tests/preload/boot.c`) shows it another name of it than the kernel's.

use super::preload::{Library, Preloaded};
use std::io;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("../../preload/boot.c");

/// One server's boot.
#[derive(Debug)]
pub struct Boot {
    preloaded: Library,
    path: PathBuf,
}

impl Boot {
    /// The library, built in `directory`.
    pub fn library(directory: &Path) -> Result<Library, String> {
        Library::build(directory, "boot", SOURCE)
    }

    /// A first boot.
    pub fn new(library: Library, path: PathBuf) -> io::Result<Self> {
        let boot = Self {
            preloaded: library,
            path,
        };
        boot.begin()?;
        Ok(boot)
    }

    /// What the server's process must find in its environment.
    pub fn preloaded(&self) -> Preloaded<'_> {
        Preloaded {
            object: &self.preloaded,
            variable: "FAULTS_BOOT",
            path: &self.path,
        }
    }

    /// When it starts next, the machine has been booted again.
    pub fn begin(&self) -> io::Result<()> {
        let [a, b, c, d]: [u32; 4] = rand::random();
        let name = format!(
            "{a:08x}-{:04x}-{:04x}-{:04x}-{:04x}{d:08x}\n",
            b >> 16,
            b & 0xffff,
            c >> 16,
            c & 0xffff
        );
        std::fs::write(&self.path, name)
    }
}
