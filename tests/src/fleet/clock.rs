//! A system clock for one server that can be stepped: a small library (`tests/preload/clock.c`) before the C library's own clock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("../../preload/clock.c");

/// The library, built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Library(PathBuf);

impl Library {
    /// Builds it in `directory`; says why it cannot, where there is no C compiler.
    pub fn build(directory: &Path) -> Result<Self, String> {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source])
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        let said = || String::from_utf8_lossy(&built.stderr).into_owned();
        built
            .status
            .success()
            .then_some(Self(library))
            .ok_or_else(said)
    }
}

/// One server's clock.
#[derive(Debug)]
pub struct Clock {
    preloaded: Library,
    path: PathBuf,
    file: File,
}

impl Clock {
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
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [
            ("LD_PRELOAD", &self.preloaded.0),
            ("FAULTS_CLOCK", &self.path),
        ]
    }

    /// From now on it is so many milliseconds before the right time, or behind it.
    pub fn step(&self, by: i64) -> io::Result<()> {
        self.file.write_all_at(&by.to_ne_bytes(), 0)
    }
}
