//! Whole copies of a partition on their way to a learner: files in parts, on a connection of their own, at a bounded rate.
//!
//! Whether a checkpoint is wanted, and what it is worth, the learner's core decides when all of it is there and synced.

use crate::inbox::Input;
use crate::peers::channel;
use crate::peers::incoming::PeersService;
use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use bytes::Bytes;
use engine::{Checkpoint, Ticket};
use proto::peer::peers_client::PeersClient;
use proto::peer::{
    CheckpointDone, CheckpointPart, CheckpointStart, Greeting, checkpoint_part::Part,
};
use replication::Event;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use types::{LearnSignature, NodeId, PartitionId};

const PART: usize = 256 << 10;
/// What one transfer may send in a second.
const RATE: usize = 128 << 20;

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
        let greeting = self.peers.introduction().greeting(learner);
        tokio::task::spawn_local(async move {
            let sending = send(address, greeting, partition, signature, &checkpoint);
            let sent = tokio::select! {
                sent = sending => sent,
                _ = ended => Err("the learn ended".to_owned()),
            };
            if let Err(reason) = &sent {
                tracing::warn!(%partition, %learner, %reason, "a checkpoint did not reach its learner");
            }
            let dir = checkpoint.dir;
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
            let delivered = sent.ok();
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

async fn send(
    address: Option<String>,
    greeting: Greeting,
    partition: PartitionId,
    signature: LearnSignature,
    checkpoint: &Checkpoint,
) -> Result<types::Decree, String> {
    let address = address.ok_or("the learner's address is not known")?;
    let connection = channel(&address)
        .map_err(text)?
        .connect()
        .await
        .map_err(text)?;
    let files: Vec<PathBuf> = std::fs::read_dir(&checkpoint.dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(text)?;
    let (parts, receiver) = mpsc::channel(4);
    let start = CheckpointStart {
        greeting: Some(greeting),
        partition: Some(partition.into()),
        signature: Some(signature.into()),
        decree: checkpoint.base.decree.0,
        files: files.len() as u32,
    };
    let reading = read_files(files, start, parts);
    let mut client = PeersClient::new(connection);
    let answering = client.checkpoint(ReceiverStream::new(receiver));
    let (read, answered) = tokio::join!(reading, answering);
    let done = answered.map_err(|status| status.message().to_owned())?;
    read?;
    Ok(types::Decree(done.into_inner().decree))
}

async fn read_files(
    files: Vec<PathBuf>,
    start: CheckpointStart,
    parts: mpsc::Sender<CheckpointPart>,
) -> Result<(), String> {
    let send = async |part: Part| {
        let part = CheckpointPart { part: Some(part) };
        parts
            .send(part)
            .await
            .map_err(|_| "the learner takes no more of it".to_owned())
    };
    send(Part::Start(start)).await?;
    for path in files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a file without a name")?;
        send(Part::File(name.to_owned())).await?;
        let mut file = std::fs::File::open(&path).map_err(text)?;
        loop {
            // Files are read beside the worker, a part at a time.
            let read = tokio::task::spawn_blocking(move || {
                use std::io::Read;
                let mut buffer = Vec::with_capacity(PART);
                let read = std::io::Read::by_ref(&mut file)
                    .take(PART as u64)
                    .read_to_end(&mut buffer);
                read.map(|_| (file, Bytes::from(buffer)))
            });
            let (back, bytes) = read.await.map_err(text)?.map_err(text)?;
            file = back;
            if bytes.is_empty() {
                break;
            }
            let pause = Duration::from_secs_f64(bytes.len() as f64 / RATE as f64);
            send(Part::Bytes(bytes)).await?;
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}

/// Takes in a checkpoint, and answers when the learner's core has had it installed.
pub(crate) async fn receive(
    service: &PeersService,
    mut parts: Streaming<CheckpointPart>,
) -> Result<CheckpointDone, Status> {
    let Some(Part::Start(start)) = parts.message().await?.and_then(|part| part.part) else {
        return Err(Status::invalid_argument(
            "a checkpoint does not begin with its start",
        ));
    };
    let from = service.introduction.admit(start.greeting)?;
    let partition: PartitionId = start
        .partition
        .ok_or_else(|| Status::invalid_argument("which partition?"))?
        .into();
    let signature = start
        .signature
        .ok_or_else(|| Status::invalid_argument("which learn?"))?
        .into();
    let dir = service.scratch.join(format!(
        "in-{partition}-{}-{:x}",
        NodeId(from.node),
        rand::random::<u64>()
    ));
    let kept = Incoming(Some(dir.clone()));
    store(&dir, parts, start.files).await?;
    let (installed, waiting) = oneshot::channel();
    service
        .inbox
        .send(Input::CheckpointReceived {
            partition,
            signature,
            decree: types::Decree(start.decree),
            dir,
            installed,
        })
        .map_err(|_| Status::unavailable("the server is stopping"))?;
    kept.handed_over();
    match waiting.await {
        Ok(Ok(decree)) => Ok(CheckpointDone { decree: decree.0 }),
        Ok(Err(reason)) => Err(Status::internal(reason)),
        Err(_) => Err(Status::failed_precondition(
            "the replica does not want this checkpoint",
        )),
    }
}

/// A directory that goes when its transfer is given up, by whichever side.
struct Incoming(Option<PathBuf>);

impl Incoming {
    fn handed_over(mut self) {
        self.0 = None;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take() {
            crate::worker::remove_later(dir);
        }
    }
}

async fn store(dir: &Path, mut parts: Streaming<CheckpointPart>, files: u32) -> Result<(), Status> {
    let io =
        |error: std::io::Error| Status::internal(format!("the checkpoint cannot be kept: {error}"));
    std::fs::create_dir_all(dir).map_err(io)?;
    let mut open: Option<std::fs::File> = None;
    let mut count = 0;
    while let Some(part) = parts.message().await? {
        match part.part {
            Some(Part::File(name)) => {
                finish(open.take()).await.map_err(io)?;
                count += 1;
                open = Some(std::fs::File::create_new(dir.join(plain(&name)?)).map_err(io)?);
            }
            Some(Part::Bytes(bytes)) => {
                let mut file = open
                    .take()
                    .ok_or_else(|| Status::invalid_argument("bytes of no file"))?;
                let written = tokio::task::spawn_blocking(move || {
                    std::io::Write::write_all(&mut file, &bytes).map(|()| file)
                });
                open = Some(
                    written
                        .await
                        .map_err(|error| Status::internal(error.to_string()))?
                        .map_err(io)?,
                );
            }
            Some(Part::Start(_)) | None => {
                return Err(Status::invalid_argument("a part that makes no sense"));
            }
        }
    }
    finish(open.take()).await.map_err(io)?;
    if count != files {
        return Err(Status::data_loss(format!("{count} of {files} files came")));
    }
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io)
}

async fn finish(file: Option<std::fs::File>) -> std::io::Result<()> {
    match file {
        Some(file) => tokio::task::spawn_blocking(move || file.sync_all())
            .await
            .map_err(std::io::Error::other)?,
        None => Ok(()),
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
