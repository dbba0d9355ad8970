//! Small C libraries that are loaded before the C library's own functions, so that one process is told something else than others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library, built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Library(PathBuf);

/// What a process must find in its environment for one library.
#[derive(Clone, Copy, Debug)]
pub struct Preloaded<'a> {
    /// The library.
    pub object: &'a Library,
    /// The variable that it reads.
    pub variable: &'static str,
    /// A file that it is told by it.
    pub path: &'a Path,
}

impl Library {
    /// Builds it in `directory`; says why it cannot, where there is no C compiler.
    pub fn build(directory: &Path, name: &str, text: &str) -> Result<Self, String> {
        let file = |end: &str| directory.join(format!("{name}.{end}"));
        let (source, library) = (file("c"), file("so"));
        std::fs::write(&source, text).map_err(|error| error.to_string())?;
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

/// The environment for all of them.
pub fn environment(all: &[Preloaded<'_>]) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<_> = all
        .iter()
        .map(|it| (it.variable, it.path.as_os_str().to_owned()))
        .collect();
    if !all.is_empty() {
        let libraries: Vec<_> = all.iter().map(|it| it.object.0.as_os_str()).collect();
        variables.push(("LD_PRELOAD", libraries.join(":".as_ref())));
    }
    variables
}
