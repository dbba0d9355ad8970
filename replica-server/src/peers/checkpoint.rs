//! Whole copies of a partition on their way to a learner: files in parts, on a connection of their own, at a bounded rate. What the
//! learner has of an earlier transfer that was cut off is not sent again.
//!
//! Taking them in is `arrival`'s. Whether a checkpoint is wanted, and what it is worth, the learner's core decides when all of it is there.

use crate::clock;
use crate::inbox::Input;
use crate::peers::channel;
use crate::peers::kept::Outgoing;
use crate::worker::Worker;
use crate::worker::hosted::{Hosted, Teaching};
use crate::worker::perform::remove_later;
use bytes::Bytes;
use commit_log::Pin;
use engine::{Checkpoint, Ticket};
use proto::peer::checkpoint_answer::Answer;
use proto::peer::checkpoint_part::Part;
use proto::peer::peers_client::PeersClient;
use proto::peer::{CheckpointAnswer, CheckpointFile, CheckpointPart, CheckpointStart, Greeting};
use replication::Event;
use std::cell::Cell;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use types::{ByteSize, Decree, LearnSignature, NodeId, PartitionId};

const PART: usize = 256 << 10;

/// Lets all transfers of this node together send so many bytes in a second.
pub(crate) struct Pace {
    rate: u64,
    /// When what was let through until now has been sent.
    sent_by: Cell<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: ByteSize) -> Self {
        Self {
            rate: rate.0.max(1),
            sent_by: Cell::new(Instant::now()),
        }
    }

    /// Waits for the turn of so many bytes.
    async fn wait(&self, bytes: usize) {
        let turn = self.sent_by.get().max(Instant::now());
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        self.sent_by.set(turn + takes);
        tokio::time::sleep_until(turn).await;
    }
}

/// Between two looks whether the log is still kept for a transfer.
const LOOK: Duration = Duration::from_millis(200);

/// How a transfer ended.
pub(crate) enum Ended {
    /// The learner has installed it.
    Delivered(Decree),
    /// It was cut off: what the learner got of it is worth going on with.
    Cut(Outgoing),
    /// The log after it could not be kept for so long: it is worth nothing any more.
    Outrun,
    /// All of it was sent, and the learner cannot use it; or it cannot be read.
    Useless,
}

impl Worker {
    /// A learner needs a whole copy: the one of which it got a part, or a new one.
    pub(crate) fn teach_by_checkpoint(
        &self,
        h: &mut Hosted,
        learner: NodeId,
        signature: LearnSignature,
    ) {
        if let Some(kept) = self.kept_checkpoints.take(h.id, learner) {
            return self.transfer(h, learner, signature, kept);
        }
        let name = format!("out-{}-{learner}-{:x}", h.id, rand::random::<u64>());
        let ticket = h.storage.checkpoint(self.engine.scratch(&name));
        let teaching = h.teaching.entry(learner).or_default();
        teaching.pin = h.log.pin(h.id, h.storage.committed().next()).map(Arc::new);
        teaching.checkpoint = Some((ticket, signature));
    }

    /// A checkpoint for a learner is made: sends it, beside everything else. An event if there is nothing to send.
    pub(crate) fn checkpoint_made(
        &self,
        h: &mut Hosted,
        ticket: Ticket,
        checkpoint: Result<Checkpoint, String>,
    ) -> Option<Event> {
        let wanted = |made: &(Ticket, LearnSignature)| made.0 == ticket;
        let found = h
            .teaching
            .iter_mut()
            .find(|(_, teaching)| teaching.checkpoint.as_ref().is_some_and(wanted));
        let Some((&learner, teaching)) = found else {
            if let Ok(unwanted) = checkpoint {
                remove_later(unwanted.dir);
            }
            return None;
        };
        let (_, signature) = teaching.checkpoint.take()?;
        let failed = Some(Event::CheckpointFailed { learner, signature });
        let checkpoint = match checkpoint {
            Ok(checkpoint) => checkpoint,
            Err(reason) => {
                tracing::error!(partition = %h.id, %reason, "a checkpoint for a learner was not made");
                return failed;
            }
        };
        let Some(pin) = h.log.pin(h.id, checkpoint.base.decree.next()) else {
            tracing::warn!(partition = %h.id, %learner, "while a checkpoint for a learner was made the log after it was given up");
            remove_later(checkpoint.dir);
            return failed;
        };
        let outgoing = Outgoing {
            checkpoint,
            pin: Arc::new(pin),
        };
        self.transfer(h, learner, signature, outgoing);
        None
    }

    fn transfer(
        &self,
        h: &mut Hosted,
        learner: NodeId,
        signature: LearnSignature,
        outgoing: Outgoing,
    ) {
        let (keep, ended) = oneshot::channel();
        let teaching = h.teaching.entry(learner).or_default();
        teaching.pin = Some(outgoing.pin.clone());
        teaching.transfer = Some((signature, keep));
        let (partition, inbox) = (h.id, self.inbox.clone());
        let address = self.peers.address(learner);
        let pace = self.learn_pace.clone();
        let greeting = self.peers.introduction().greeting(learner);
        tokio::task::spawn_local(async move {
            let all_sent = Cell::new(false);
            let learn = (partition, signature);
            let sending = send(
                address,
                greeting,
                learn,
                &outgoing.checkpoint,
                &pace,
                &all_sent,
            );
            let sent = tokio::select! {
                sent = sending => sent,
                _ = ended => Err(Failed::Cut("the learn ended".to_owned())),
                () = outrun(&outgoing.pin, &all_sent) => Err(Failed::Outrun),
            };
            let ended = match sent {
                Ok(Sent {
                    decree,
                    bytes,
                    held,
                }) => {
                    tracing::info!(%partition, %learner, bytes, held, "a checkpoint reached its learner");
                    Ended::Delivered(decree)
                }
                Err(Failed::Outrun) => {
                    tracing::warn!(%partition, %learner, "writes outran a checkpoint on its way to a learner, which gets a fresh one");
                    Ended::Outrun
                }
                Err(Failed::Cut(reason)) => {
                    tracing::warn!(%partition, %learner, %reason, "a checkpoint did not reach its learner; it is kept for the next attempt");
                    Ended::Cut(outgoing)
                }
                Err(Failed::Useless(reason)) => {
                    tracing::warn!(%partition, %learner, %reason, "a checkpoint is of no use to its learner");
                    Ended::Useless
                }
            };
            let _ = inbox.send(Input::CheckpointSent {
                partition,
                learner,
                signature,
                ended,
            });
        });
    }

    /// A transfer is over: keeps what another attempt could use, and begins anew what writes outran. An event if it says something to the core.
    pub(crate) fn transfer_ended(
        &self,
        h: &mut Hosted,
        learner: NodeId,
        signature: LearnSignature,
        ended: Ended,
    ) -> Option<Event> {
        let under_way = |teaching: &mut Teaching| {
            let transfer = teaching
                .transfer
                .take_if(|transfer| transfer.0 == signature);
            transfer.is_some()
        };
        let goes_on = h.teaching.get_mut(&learner).is_some_and(under_way);
        match ended {
            Ended::Delivered(decree) => {
                return Some(Event::CheckpointDelivered {
                    learner,
                    signature,
                    decree,
                });
            }
            Ended::Outrun if goes_on => {
                self.teach_by_checkpoint(h, learner, signature);
                return None;
            }
            Ended::Cut(outgoing) if h.leads() => {
                self.kept_checkpoints
                    .put(h.id, learner, outgoing, clock::now());
            }
            Ended::Cut(_) | Ended::Outrun | Ended::Useless => {}
        }
        Some(Event::CheckpointFailed { learner, signature })
    }
}

/// Ends when the log is kept for the transfer no more. Not once all is sent: what the learner is about to install saves it the next time.
async fn outrun(pin: &Pin, all_sent: &Cell<bool>) {
    while !pin.broken() || all_sent.get() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Why a transfer came to nothing; what [`Ended`] says of it.
enum Failed {
    Cut(String),
    Outrun,
    Useless(String),
}

/// What a transfer came to.
struct Sent {
    decree: Decree,
    bytes: u64,
    /// What the learner had of it already.
    held: u64,
}

async fn send(
    address: Option<String>,
    greeting: Greeting,
    (partition, signature): (PartitionId, LearnSignature),
    checkpoint: &Checkpoint,
    pace: &Pace,
    all_sent: &Cell<bool>,
) -> Result<Sent, Failed> {
    let address = address.ok_or_else(|| cut("the learner's address is not known"))?;
    let connection = channel(&address)
        .map_err(cut)?
        .connect()
        .await
        .map_err(cut)?;
    let files = files(&checkpoint.dir, greeting.node).map_err(useless)?;
    let (parts, receiver) = mpsc::channel(4);
    let start = CheckpointStart {
        greeting: Some(greeting),
        partition: Some(partition.into()),
        signature: Some(signature.into()),
        decree: checkpoint.base.decree.0,
        files: files.clone(),
    };
    let start = CheckpointPart {
        part: Some(Part::Start(start)),
    };
    parts.try_send(start).map_err(cut)?;
    let mut client = PeersClient::new(connection);
    let answered = client.checkpoint(ReceiverStream::new(receiver)).await;
    let answered = answered.map_err(|status| cut(refused(&status)))?;
    let mut answers = answered.into_inner();
    let Some(Answer::Held(held)) = next(&mut answers).await.map_err(cut)? else {
        return Err(cut("the learner did not say what it has"));
    };
    if held.bytes.len() != files.len() {
        return Err(useless("the learner has other files than it was told of"));
    }
    let reading = async {
        let read = read_files(&checkpoint.dir, &files, &held.bytes, parts, pace).await;
        all_sent.set(true);
        read
    };
    let (read, answered) = tokio::join!(reading, next(&mut answers));
    match (read, answered) {
        (Ok(bytes), Ok(Some(Answer::Done(done)))) => Ok(Sent {
            decree: Decree(done.decree),
            bytes,
            held: held.bytes.iter().sum(),
        }),
        (Ok(_), Ok(_)) => Err(useless("the learner did not say that it has all")),
        (Ok(_), Err(reason)) | (Err(Stopped::Unreadable(reason)), _) => Err(useless(reason)),
        // The learner's reason says more than that it takes no more.
        (Err(Stopped::NotTaken), Err(reason)) => Err(cut(reason)),
        (Err(Stopped::NotTaken), Ok(_)) => Err(cut("the learner takes no more of it")),
    }
}

fn cut(reason: impl std::fmt::Display) -> Failed {
    Failed::Cut(reason.to_string())
}

fn useless(reason: impl std::fmt::Display) -> Failed {
    Failed::Useless(reason.to_string())
}

async fn next(answers: &mut Streaming<CheckpointAnswer>) -> Result<Option<Answer>, String> {
    let answer = answers.message().await.map_err(|status| refused(&status))?;
    Ok(answer.and_then(|answer| answer.answer))
}

fn refused(status: &tonic::Status) -> String {
    status.message().to_owned()
}

/// The files of a checkpoint. A stamp tells files of one name apart: names are numbers that each node, and each life of a copy, counts
/// for itself. Links to one file have one inode and one time.
fn files(dir: &Path, node: u64) -> std::io::Result<Vec<CheckpointFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        let mut stamp = [0; 32];
        let parts = [
            node,
            about.ino(),
            about.mtime() as u64,
            about.mtime_nsec() as u64,
        ];
        for (place, part) in stamp.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        let (high, low) = (crc32c::crc32c(&stamp), crc32c::crc32c(&stamp[8..]));
        files.push(CheckpointFile {
            name: entry.file_name().to_string_lossy().into_owned(),
            bytes: about.len(),
            stamp: u64::from(high) << 32 | u64::from(low),
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Why the files were not sent to their end.
enum Stopped {
    NotTaken,
    Unreadable(String),
}

/// Sends what is lacking of each file; says how much that was.
async fn read_files(
    dir: &Path,
    files: &[CheckpointFile],
    held: &[u64],
    parts: mpsc::Sender<CheckpointPart>,
    pace: &Pace,
) -> Result<u64, Stopped> {
    let send = async |part: Part| {
        let part = CheckpointPart { part: Some(part) };
        parts.send(part).await.map_err(|_| Stopped::NotTaken)
    };
    let unreadable = |error: &dyn std::fmt::Display| Stopped::Unreadable(error.to_string());
    let mut sent = 0;
    for (about, &held) in files.iter().zip(held) {
        let mut file =
            std::fs::File::open(dir.join(&about.name)).map_err(|error| unreadable(&error))?;
        let (mut at, mut sum) = (0, 0);
        loop {
            // Files are read beside the worker, a part at a time.
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = Vec::with_capacity(PART);
                let read = Read::by_ref(&mut file)
                    .take(PART as u64)
                    .read_to_end(&mut buffer);
                read.map(|_| (file, Bytes::from(buffer)))
            });
            let (back, mut bytes) = read
                .await
                .map_err(std::io::Error::other)
                .flatten()
                .map_err(|error| unreadable(&error))?;
            file = back;
            if bytes.is_empty() {
                break;
            }
            sum = crc32c::crc32c_append(sum, &bytes);
            let from = held.saturating_sub(at).min(bytes.len() as u64);
            at += bytes.len() as u64;
            let lacking = bytes.split_off(from as usize);
            if !lacking.is_empty() {
                pace.wait(lacking.len()).await;
                sent += lacking.len() as u64;
                send(Part::Bytes(lacking)).await?;
            }
        }
        send(Part::EndOfFile(sum)).await?;
    }
    Ok(sent)
}
