//! Taking in checkpoints that other nodes send: what arrives is kept beside the data until it is whole, also over a restart of this
//! server, so that a transfer that was cut off goes on where it was.
//!
//! Nothing here is believed: a file counts only when its checksum is what the sender says of all of it.

use crate::inbox::Input;
use crate::peers::incoming::PeersService;
use bytes::Bytes;
use proto::peer::checkpoint_answer::Answer;
use proto::peer::checkpoint_part::Part;
use proto::peer::{
    CheckpointAnswer, CheckpointDone, CheckpointFile, CheckpointHeld, CheckpointPart,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use types::{Decree, LearnSignature, NodeId, PartitionId};

/// How long what is left of a transfer waits for its rest; older ones go when the server starts.
const KEPT: Duration = Duration::from_hours(24);

/// The answers to a transfer.
pub(crate) type Answers = ReceiverStream<Result<CheckpointAnswer, Status>>;

/// Where checkpoints arrive, one of each partition at a time.
#[derive(Clone)]
pub(crate) struct Arrivals {
    /// What has arrived of which.
    partial: PathBuf,
    /// Whole ones, until they are installed; emptied at every start.
    whole: PathBuf,
    turns: Arc<Mutex<BTreeMap<PartitionId, Turn>>>,
}

/// Whoever comes later for a partition ends who came before: its sender has given up, or will.
#[derive(Default)]
struct Turn {
    taken: Arc<tokio::sync::Mutex<()>>,
    ends: Option<oneshot::Sender<()>>,
}

impl Arrivals {
    /// Both directories are on one file system.
    pub(crate) fn new(partial: PathBuf, whole: PathBuf) -> Self {
        remove_old(&partial);
        Self {
            partial,
            whole,
            turns: Arc::default(),
        }
    }

    async fn turn(&self, partition: PartitionId) -> (OwnedMutexGuard<()>, oneshot::Receiver<()>) {
        let (ends, ended) = oneshot::channel();
        let taken = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = turns.entry(partition).or_default();
            turn.ends = Some(ends);
            turn.taken.clone()
        };
        (taken.lock_owned().await, ended)
    }
}

fn remove_old(partial: &Path) {
    for entry in std::fs::read_dir(partial).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age > KEPT)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(dir = %entry.path().display(), %error, "what is left of an old transfer was not removed");
        }
    }
}

/// Takes in a checkpoint; answers what is here of it, and when the learner's core has had it installed.
pub(crate) async fn receive(
    service: &PeersService,
    mut parts: Streaming<CheckpointPart>,
) -> Result<Response<Answers>, Status> {
    let Some(Part::Start(start)) = parts.message().await?.and_then(|part| part.part) else {
        return Err(Status::invalid_argument(
            "a checkpoint does not begin with its start",
        ));
    };
    let from = service.introduction.admit(start.greeting)?;
    let mut names = BTreeSet::new();
    for file in &start.files {
        if !names.insert(plain(&file.name)?) {
            return Err(Status::invalid_argument("two files of one name"));
        }
    }
    let arriving = Arriving {
        from: NodeId(from.node),
        partition: start
            .partition
            .ok_or_else(|| Status::invalid_argument("which partition?"))?
            .into(),
        signature: start
            .signature
            .ok_or_else(|| Status::invalid_argument("which learn?"))?
            .into(),
        decree: Decree(start.decree),
        files: start.files,
        arrivals: service.arrivals.clone(),
        inbox: service.inbox.clone(),
    };
    let (answers, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(status) = arriving.take_in(parts, &answers).await {
            let _ = answers.send(Err(status)).await;
        }
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}

struct Arriving {
    from: NodeId,
    partition: PartitionId,
    signature: LearnSignature,
    decree: Decree,
    files: Vec<CheckpointFile>,
    arrivals: Arrivals,
    inbox: mpsc::UnboundedSender<Input>,
}

impl Arriving {
    async fn take_in(
        self,
        parts: Streaming<CheckpointPart>,
        answers: &mpsc::Sender<Result<CheckpointAnswer, Status>>,
    ) -> Result<(), Status> {
        let (turn, ended) = self.arrivals.turn(self.partition).await;
        let partial = self
            .arrivals
            .partial
            .join(format!("{}-{}", self.partition, self.from));
        let (dir, files) = (partial.clone(), self.files.clone());
        let held = beside(move || held(&dir, &files)).await?;
        let (bytes, of) = (
            held.iter().sum::<u64>(),
            self.files.iter().map(|it| it.bytes),
        );
        tracing::info!(partition = %self.partition, from = %self.from, held = bytes, of = of.sum::<u64>(), "a checkpoint arrives");
        let answer = |answer| {
            Ok(CheckpointAnswer {
                answer: Some(answer),
            })
        };
        let held = Answer::Held(CheckpointHeld { bytes: held });
        let gone = |_| Status::cancelled("the sender is gone");
        answers.send(answer(held)).await.map_err(gone)?;
        self.store(&partial, parts, ended).await?;
        let dir =
            self.arrivals
                .whole
                .join(format!("in-{}-{:x}", self.partition, rand::random::<u64>()));
        let (from, to, files) = (partial, dir.clone(), self.files);
        beside(move || complete(&from, &to, &files)).await?;
        drop(turn);
        let (installed, waiting) = oneshot::channel();
        self.inbox
            .send(Input::CheckpointReceived {
                partition: self.partition,
                signature: self.signature,
                decree: self.decree,
                dir,
                installed,
            })
            .map_err(|_| Status::unavailable("the server is stopping"))?;
        let decree = match waiting.await {
            Ok(Ok(decree)) => decree.0,
            Ok(Err(reason)) => return Err(Status::internal(reason)),
            Err(_) => {
                return Err(Status::failed_precondition(
                    "the replica does not want this checkpoint",
                ));
            }
        };
        let done = Answer::Done(CheckpointDone { decree });
        answers.send(answer(done)).await.map_err(gone)
    }

    /// Gathers the files' missing bytes in `partial`.
    async fn store(
        &self,
        partial: &Path,
        mut parts: Streaming<CheckpointPart>,
        mut ended: oneshot::Receiver<()>,
    ) -> Result<(), Status> {
        for about in &self.files {
            let (path, bytes) = (place(partial, about), about.bytes);
            let mut file = beside(move || Growing::open(path, bytes)).await?;
            loop {
                // Never given up in the middle of a write: who comes next must find the file at rest.
                let part = tokio::select! {
                    part = parts.message() => part?.and_then(|part| part.part),
                    _ = &mut ended => return Err(Status::aborted("another transfer of the partition began")),
                };
                match part {
                    Some(Part::Bytes(bytes)) => {
                        file = beside(move || file.grow(&bytes)).await?;
                    }
                    Some(Part::EndOfFile(sum)) => {
                        beside(move || file.end(sum)).await?;
                        break;
                    }
                    Some(Part::Start(_)) => {
                        return Err(Status::invalid_argument("a part that makes no sense"));
                    }
                    None => return Err(Status::data_loss("not all files came")),
                }
            }
        }
        Ok(())
    }
}

/// Does what blocks on the disk.
async fn beside<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let done = spawn_blocking(act).await;
    done.map_err(io::Error::other)
        .flatten()
        .map_err(|error| Status::internal(format!("the checkpoint cannot be kept: {error}")))
}

/// Where a file grows. Another file of the same name is in another place.
fn place(partial: &Path, about: &CheckpointFile) -> PathBuf {
    let CheckpointFile { name, bytes, stamp } = about;
    partial.join(format!("{stamp:016x}-{bytes}-{name}"))
}

/// How much of each file is here. What is of no use is removed.
fn held(partial: &Path, files: &[CheckpointFile]) -> io::Result<Vec<u64>> {
    std::fs::create_dir_all(partial)?;
    let wanted: BTreeMap<PathBuf, u64> = files
        .iter()
        .map(|about| (place(partial, about), about.bytes))
        .collect();
    for entry in std::fs::read_dir(partial)? {
        let entry = entry?;
        let length = entry.metadata()?.len();
        if wanted
            .get(&entry.path())
            .is_none_or(|&bytes| length > bytes)
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    let length = |about| std::fs::metadata(place(partial, about)).map_or(0, |about| about.len());
    Ok(files.iter().map(length).collect())
}

/// Moves the whole files to where their names are their own.
fn complete(partial: &Path, dir: &Path, files: &[CheckpointFile]) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for about in files {
        std::fs::rename(place(partial, about), dir.join(&about.name))?;
    }
    File::open(dir)?.sync_all()?;
    std::fs::remove_dir_all(partial)
}

/// A file on its way here.
struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
    /// As it will be.
    bytes: u64,
    sum: u32,
}

impl Growing {
    /// Reads what is there: only all of it has a checksum.
    fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let (mut length, mut sum) = (0, 0);
        let mut piece = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            length += read as u64;
            sum = crc32c::crc32c_append(sum, &piece[..read]);
        }
        Ok(Self {
            path,
            file,
            length,
            bytes,
            sum,
        })
    }

    fn grow(mut self, bytes: &Bytes) -> io::Result<Self> {
        self.length += bytes.len() as u64;
        if self.length > self.bytes {
            return Err(io::Error::other("more of a file came than it has"));
        }
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.file.write_all(bytes)?;
        Ok(self)
    }

    fn end(self, sum: u32) -> io::Result<()> {
        if self.length != self.bytes || self.sum != sum {
            std::fs::remove_file(&self.path)?;
            return Err(io::Error::other(
                "a file did not arrive as it was sent; all of it must be sent again",
            ));
        }
        self.file.sync_all()
    }
}

/// A name that stays in its directory.
fn plain(name: &str) -> Result<&str, Status> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(Status::invalid_argument(format!(
            "'{name}' is no plain file name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str, bytes: u64, stamp: u64) -> CheckpointFile {
        CheckpointFile {
            name: name.into(),
            bytes,
            stamp,
        }
    }

    #[test]
    fn a_file_goes_on_where_it_was_cut_off_and_counts_only_with_its_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let (partial, whole) = (dir.path().join("partial"), dir.path().join("whole"));
        let files = [about("a", 6, 1), about("b", 3, 2)];
        assert_eq!(held(&partial, &files).unwrap(), [0, 0]);
        let first = Growing::open(place(&partial, &files[0]), 6).unwrap();
        drop(first.grow(&Bytes::from("one")).unwrap());
        assert_eq!(held(&partial, &files).unwrap(), [3, 0]);
        let grown = Growing::open(place(&partial, &files[0]), 6).unwrap();
        let grown = grown.grow(&Bytes::from("two")).unwrap();
        grown.end(crc32c::crc32c(b"onetwo")).unwrap();
        let wrong = Growing::open(place(&partial, &files[1]), 3).unwrap();
        let wrong = wrong.grow(&Bytes::from("xyz")).unwrap();
        assert!(wrong.end(crc32c::crc32c(b"abc")).is_err());
        assert_eq!(held(&partial, &files).unwrap(), [6, 0]);
        let right = Growing::open(place(&partial, &files[1]), 3).unwrap();
        let right = right.grow(&Bytes::from("abc")).unwrap();
        right.end(crc32c::crc32c(b"abc")).unwrap();
        complete(&partial, &whole, &files).unwrap();
        assert_eq!(std::fs::read(whole.join("a")).unwrap(), b"onetwo");
        assert!(!partial.exists());
    }

    #[test]
    fn another_file_of_the_same_name_is_never_taken_for_the_rest_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let old = [about("a", 6, 1)];
        held(dir.path(), &old).unwrap();
        let growing = Growing::open(place(dir.path(), &old[0]), 6).unwrap();
        drop(growing.grow(&Bytes::from("one")).unwrap());
        assert_eq!(held(dir.path(), &[about("a", 6, 2)]).unwrap(), [0]);
        assert_eq!(held(dir.path(), &old).unwrap(), [0]);
        let growing = Growing::open(place(dir.path(), &old[0]), 6).unwrap();
        assert!(growing.grow(&Bytes::from("too much")).is_err());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", "..", "/etc/passwd", "a/b", "./a"] {
            assert!(plain(name).is_err(), "{name}");
        }
        assert_eq!(plain("000012.sst").unwrap(), "000012.sst");
    }
}
