//! Taking in checkpoints that other nodes send: what arrives is kept beside the data until it is whole, also over a restart of this
//! server, so that a transfer that was cut off goes on where it was. Tables stay until the learn is over: if writes outrun it, the next
//! checkpoint has most of them too.
//!
//! Nothing here is believed: a file counts only when its checksum is what the sender says of all of it.

use crate::inbox::Input;
use crate::peers::incoming::PeersService;
use crate::peers::partial::{
    Growing, complete, held, of_partition, place, plain, remove_of, remove_old,
};
use proto::peer::checkpoint_answer::Answer;
use proto::peer::checkpoint_part::Part;
use proto::peer::{
    CheckpointAnswer, CheckpointDone, CheckpointFile, CheckpointHeld, CheckpointPart,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use types::{Decree, LearnSignature, NodeId, PartitionId};

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
        let left = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        let left = left.filter_map(|entry| of_partition(&entry.file_name().to_string_lossy()));
        let turns = left.map(|partition| (partition, Turn::default())).collect();
        Self {
            partial,
            whole,
            turns: Arc::new(Mutex::new(turns)),
        }
    }

    /// The partition's copy is whole, or gone: what was kept for another transfer goes.
    pub(crate) fn forget(&self, partition: PartitionId) {
        let taken = {
            let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.get(&partition).map(|turn| turn.taken.clone())
        };
        let Some(taken) = taken else { return };
        let partial = self.partial.clone();
        tokio::spawn(async move {
            let _turn = taken.lock_owned().await;
            let removed = beside(move || remove_of(&partial, partition)).await;
            if let Err(status) = removed {
                tracing::warn!(%partition, reason = status.message(), "what is left of a transfer was not removed");
            }
        });
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
