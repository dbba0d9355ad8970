//! A system clock for one server that can be stepped: a small library (`tests/preload/clock.c`) before the C library's own clock.

use super::preload::{Library, Preloaded};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("../../preload/clock.c");

/// One server's clock.
#[derive(Debug)]
pub struct Clock {
    preloaded: Library,
    path: PathBuf,
    file: File,
}

impl Clock {
    /// The library, built in `directory`.
    pub fn library(directory: &Path) -> Result<Library, String> {
        Library::build(directory, "clock", SOURCE)
    }

    /// A clock that is right.
    pub fn new(library: Library, path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        let clock = Self {
            preloaded: library,
            path,
            file,
        };
        clock.step(0)?;
        Ok(clock)
    }

    /// What the server's process must find in its environment.
    pub fn preloaded(&self) -> Preloaded<'_> {
        Preloaded {
            object: &self.preloaded,
            variable: "FAULTS_CLOCK",
            path: &self.path,
        }
    }

    /// From now on it is so many milliseconds before the right time, or behind it.
    pub fn step(&self, by: i64) -> io::Result<()> {
        self.file.write_all_at(&by.to_ne_bytes(), 0)
    }
}
