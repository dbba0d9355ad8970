//! Damages the files of a stopped server as disks do: a bit here, an end there.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One thing that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// To which file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What.
    pub kind: Kind,
}

/// A way in which files go bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One bit is another.
    Flipped,
    /// Everything from there on is gone.
    Truncated,
}

/// Damages files under `directory` so many times; every eighth time an end is cut off. Places that hold something are preferred:
/// most of a preallocated log is zeros that nobody reads.
pub fn damage(directory: &Path, times: usize, random: &mut SmallRng) -> io::Result<Vec<Done>> {
    let mut files = Vec::new();
    gather(directory, &mut files)?;
    // The order in which a directory lists its files is not the seed's.
    files.sort();
    let mut done = Vec::new();
    for _ in 0..times {
        // Large files more often, but not so much that only the log would ever be hit.
        let weight = |(_, length): &(PathBuf, u64)| (*length as f64).sqrt();
        let Ok((path, _)) = files.choose_weighted(random, weight) else {
            break;
        };
        let file = File::options().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            continue;
        }
        let offset = place(&file, length, random)?;
        let kind = if random.random_range(0..8) == 0 {
            file.set_len(offset)?;
            Kind::Truncated
        } else {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset)?;
            byte[0] ^= 1 << random.random_range(0..8);
            file.write_all_at(&byte, offset)?;
            Kind::Flipped
        };
        done.push(Done {
            file: path.clone(),
            offset,
            kind,
        });
    }
    Ok(done)
}

/// Flips one bit of a file in place, under whoever has it open.
pub fn flip(path: &Path, offset: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 4], offset)
}

fn place(file: &File, length: u64, random: &mut SmallRng) -> io::Result<u64> {
    let mut offset = 0;
    for _ in 0..20 {
        offset = random.random_range(0..length);
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset)?;
        if byte[0] != 0 {
            break;
        }
    }
    Ok(offset)
}

fn gather(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            gather(&entry.path(), files)?;
        } else if about.len() > 0 {
            files.push((entry.path(), about.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_same_seed_damages_the_same_places_and_nothing_else() {
        let made = || {
            let directory = tempfile::tempdir().expect("a directory");
            std::fs::create_dir(directory.path().join("deep")).expect("a new one");
            for name in ["a", "b", "deep/c"] {
                std::fs::write(directory.path().join(name), [7; 1000]).expect("writable");
            }
            let mut random = SmallRng::seed_from_u64(5);
            let done = damage(directory.path(), 10, &mut random).expect("it is there");
            let mut contents = Vec::new();
            for name in ["a", "b", "deep/c"] {
                contents.push(std::fs::read(directory.path().join(name)).expect("still there"));
            }
            let places: Vec<_> = done.iter().map(|done| (done.offset, done.kind)).collect();
            (places, contents)
        };
        let (places, contents) = made();
        assert_eq!((&places, &contents), (&made().0, &made().1));
        let bad: usize = contents.iter().flatten().filter(|&&byte| byte != 7).count();
        let flipped = places
            .iter()
            .filter(|(_, kind)| *kind == Kind::Flipped)
            .count();
        let short = contents.iter().any(|bytes| bytes.len() < 1000);
        assert!((1..=flipped).contains(&bad), "{bad} of {flipped}");
        assert_eq!(short, flipped < places.len());
    }
}
