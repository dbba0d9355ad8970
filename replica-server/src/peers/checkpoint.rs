//! Whole copies of a partition on their way to a learner: files in parts, on a connection of their own, at a bounded rate. What the
//! learner has of an earlier transfer that was cut off is not sent again.
//!
//! Taking them in is `arrival`'s. Whether a checkpoint is wanted, and what it is worth, the learner's core decides when all of it is there.

use crate::inbox::Input;
use crate::peers::channel;
use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use bytes::Bytes;
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
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use types::{ByteSize, Decree, LearnSignature, PartitionId};

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

impl Worker {
    /// A checkpoint for a learner is made: sends it, beside everything else. An event if there is nothing to send.
    pub(crate) fn transfer(
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
                let _ = std::fs::remove_dir_all(unwanted.dir);
            }
            return None;
        };
        let (_, signature) = teaching.checkpoint.take()?;
        let checkpoint = match checkpoint {
            Ok(checkpoint) => checkpoint,
            Err(reason) => {
                tracing::error!(partition = %h.id, %reason, "a checkpoint for a learner was not made");
                return Some(Event::CheckpointFailed { learner, signature });
            }
        };
        teaching.pin = h.log.pin(h.id, checkpoint.base.decree.next());
        let (keep, ended) = oneshot::channel();
        teaching.transfer = Some(keep);
        let (partition, inbox) = (h.id, self.inbox.clone());
        let address = self.peers.address(learner);
        let pace = self.learn_pace.clone();
        let greeting = self.peers.introduction().greeting(learner);
        tokio::task::spawn_local(async move {
            let sending = send(address, greeting, partition, signature, &checkpoint, &pace);
            let sent = tokio::select! {
                sent = sending => sent,
                _ = ended => Err("the learn ended".to_owned()),
            };
            match &sent {
                Ok(Sent { bytes, held, .. }) => {
                    tracing::info!(%partition, %learner, bytes, held, "a checkpoint reached its learner");
                }
                Err(reason) => {
                    tracing::warn!(%partition, %learner, %reason, "a checkpoint did not reach its learner");
                }
            }
            let dir = checkpoint.dir;
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
            let delivered = sent.ok().map(|sent| sent.decree);
            let _ = inbox.send(Input::CheckpointSent {
                partition,
                learner,
                signature,
                delivered,
            });
        });
        None
    }
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
    partition: PartitionId,
    signature: LearnSignature,
    checkpoint: &Checkpoint,
    pace: &Pace,
) -> Result<Sent, String> {
    let address = address.ok_or("the learner's address is not known")?;
    let connection = channel(&address)
        .map_err(text)?
        .connect()
        .await
        .map_err(text)?;
    let files = files(&checkpoint.dir, greeting.node).map_err(text)?;
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
    parts.try_send(start).map_err(text)?;
    let mut client = PeersClient::new(connection);
    let answered = client.checkpoint(ReceiverStream::new(receiver)).await;
    let mut answers = answered.map_err(|status| refused(&status))?.into_inner();
    let Some(Answer::Held(held)) = next(&mut answers).await? else {
        return Err("the learner did not say what it has".into());
    };
    if held.bytes.len() != files.len() {
        return Err("the learner has other files than it was told of".into());
    }
    let reading = read_files(&checkpoint.dir, &files, &held.bytes, parts, pace);
    let (read, answered) = tokio::join!(reading, next(&mut answers));
    // The learner's reason says more than that it takes no more.
    let Some(Answer::Done(done)) = answered? else {
        return Err("the learner did not say that it has all".into());
    };
    Ok(Sent {
        decree: Decree(done.decree),
        bytes: read?,
        held: held.bytes.iter().sum(),
    })
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

/// Sends what is lacking of each file; says how much that was.
async fn read_files(
    dir: &Path,
    files: &[CheckpointFile],
    held: &[u64],
    parts: mpsc::Sender<CheckpointPart>,
    pace: &Pace,
) -> Result<u64, String> {
    let send = async |part: Part| {
        let part = CheckpointPart { part: Some(part) };
        parts
            .send(part)
            .await
            .map_err(|_| "the learner takes no more of it".to_owned())
    };
    let mut sent = 0;
    for (about, &held) in files.iter().zip(held) {
        let mut file = std::fs::File::open(dir.join(&about.name)).map_err(text)?;
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
            let (back, mut bytes) = read.await.map_err(text)?.map_err(text)?;
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
