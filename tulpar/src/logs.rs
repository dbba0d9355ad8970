//! Where log lines go: stderr, or a file that is renamed when it has grown.
//!
//! Log lines are for people. What a program may rely on is on stdout (ready lines) and in exit codes.

use crate::settings::LogConfig;
use anyhow::{Context, anyhow};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;

/// Sends everything logged from now on to where the settings say.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&config.level)
        .with_context(|| format!("log.level '{}'", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match &config.file {
        None => {
            let people_watch = std::io::IsTerminal::is_terminal(&io::stderr());
            builder
                .with_writer(io::stderr)
                .with_ansi(people_watch)
                .try_init()
        }
        Some(path) => {
            let file = RotatedFile::open(path, config.rotate_at.0, config.keep)
                .with_context(|| format!("cannot log to {}", path.display()))?;
            builder
                .with_writer(Mutex::new(file))
                .with_ansi(false)
                .try_init()
        }
    };
    started.map_err(|error| anyhow!("cannot start logging: {error}"))
}

/// A file that makes room for itself: beyond `limit` it becomes FILE.1, and FILE.1 becomes FILE.2, up to `keep`.
struct RotatedFile {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
    keep: u32,
}

impl RotatedFile {
    fn open(path: &Path, limit: u64, keep: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            written,
            limit,
            keep,
        })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let older = self.numbered(number);
            if older.exists() {
                std::fs::rename(older, self.numbered(number + 1))?;
            }
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, self.numbered(1))?;
        }
        *self = Self::open(&self.path, self.limit, self.keep)?;
        Ok(())
    }
}

impl Write for RotatedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + line.len() as u64 > self.limit {
            // A log that cannot be renamed goes on growing: losing lines would be worse.
            let _ = self.rotate();
        }
        let written = self.file.write(line)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_is_renamed_when_full_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tulpar.log");
        let mut log = RotatedFile::open(&path, 10, 2).unwrap();
        for line in ["one 456\n", "two 456\n", "three 6\n", "four 56\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name));
        assert_eq!(read("tulpar.log").unwrap(), "four 56\n");
        assert_eq!(read("tulpar.log.1").unwrap(), "three 6\n");
        assert_eq!(read("tulpar.log.2").unwrap(), "two 456\n");
        assert!(read("tulpar.log.3").is_err());
    }
}
