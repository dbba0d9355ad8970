//! Questions to the replica servers themselves: to one, or to all that live at once.

use super::Failure;
use super::find::Servers;
use crate::admin::{Admin, SECRET_KEY, connect};
use crate::progress::Progress;
use proto::inspect::inspect_client::InspectClient;
use proto::meta::Node;
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// A server that has not answered by then hangs, or is too far away to be asked.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer is a full slow log.
const LARGEST_ANSWER: usize = 64 << 20;

pub(super) type Client = InspectClient<Channel>;

/// What the servers answered, each with its name, and who did not and why.
pub(super) struct Heard<T> {
    pub(super) answers: Vec<(String, T)>,
    pub(super) silent: Vec<(String, String)>,
}

impl<T> Heard<T> {
    /// A line for each server that did not answer.
    pub(super) fn complaints(&self) -> String {
        let silent = self.silent.iter();
        let lines = silent.map(|(name, why)| format!("\n{name} did not answer: {why}"));
        lines.collect()
    }

    /// The same for scripts.
    pub(super) fn silent_json(&self) -> Value {
        let silent = self.silent.iter();
        let values = silent.map(|(name, why)| json!({ "name": name, "error": why }));
        values.collect()
    }
}

/// Asks every replica server. Fails only if none answers.
pub(super) async fn ask_all<M, T, F>(
    admin: &mut Admin,
    message: M,
    ask: fn(Client, Request<M>) -> F,
) -> Result<Heard<T>, Failure>
where
    M: Clone + Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
{
    let nodes = admin.list_nodes().await?;
    let mut asked = JoinSet::new();
    let mut heard = Heard {
        answers: Vec::new(),
        silent: Vec::new(),
    };
    for node in nodes {
        let name = Servers::name_of(&node);
        if !node.alive {
            heard.silent.push((name, "it is away".to_owned()));
            continue;
        }
        let (message, secret) = (message.clone(), admin.secret().cloned());
        asked.spawn(async move { (name, put(&node, message, secret, ask).await) });
    }
    let progress = Progress::counting(asked.len() as u64, "servers answered");
    while let Some(answer) = asked.join_next().await {
        progress.one();
        match answer {
            Ok((name, Ok(answer))) => heard.answers.push((name, answer)),
            Ok((name, Err(why))) => heard.silent.push((name, why)),
            Err(error) => return Err(Failure::Other(error.to_string())),
        }
    }
    heard.answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    heard.silent.sort();
    match (heard.answers.is_empty(), heard.silent.first()) {
        (true, Some((name, why))) => Err(Failure::Other(format!(
            "no replica server answered; {name}: {why}"
        ))),
        (true, None) => Err(Failure::Other("there are no replica servers".to_owned())),
        (false, _) => Ok(heard),
    }
}

/// Asks one server, by its name or id.
pub(super) async fn ask_one<M, T, F>(
    admin: &mut Admin,
    server: &str,
    message: M,
    ask: fn(Client, Request<M>) -> F,
) -> Result<(String, T), Failure>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let servers = Servers::ask(admin).await?;
    let node = servers.node(server)?;
    let name = Servers::name_of(node);
    let secret = admin.secret().cloned();
    match put(node, message, secret, ask).await {
        Ok(answer) => Ok((name, answer)),
        Err(why) => Err(Failure::Other(format!("{name} did not answer: {why}"))),
    }
}

async fn put<M, T, F>(
    node: &Node,
    message: M,
    secret: Option<MetadataValue<Ascii>>,
    ask: fn(Client, Request<M>) -> F,
) -> Result<T, String>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let address = node.address.clone().unwrap_or_default();
    let channel = connect(&address.grpc, CALL_TIMEOUT).await?;
    let client = InspectClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    let mut request = Request::new(message);
    if let Some(secret) = secret {
        request.metadata_mut().insert(SECRET_KEY, secret);
    }
    match ask(client, request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(status.message().to_owned()),
    }
}
