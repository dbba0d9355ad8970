//! A replica server: a stream's passwords and epochs, and what the script makes of each request.

use super::model::refusal;
use super::{Act, Boxed, State};
use proto::data::data_server::Data;
use proto::data::{
    Refusal, Request, RequestBatch, Response, ResponseBatch, refusal::Kind, response,
};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request as Call, Response as Answer, Status, Streaming};

/// What all servers' clocks say when a stream begins.
pub const CLOCK: u64 = 1_000_000;

pub struct FakeServer {
    pub server: usize,
    pub state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl Data for FakeServer {
    type ExecuteStream = Boxed<ResponseBatch>;

    async fn execute(
        &self,
        call: Call<Streaming<RequestBatch>>,
    ) -> Result<Answer<Self::ExecuteStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut incoming = call.into_inner();
        let mut session = Session {
            server: self.server,
            state: Arc::clone(&self.state),
            sender,
            passwords: HashMap::new(),
            refused: HashMap::new(),
            ids: HashSet::new(),
        };
        session.state.lock().unwrap().streams += 1;
        let clock = Response {
            id: 0,
            result: Some(response::Result::Clock(CLOCK)),
        };
        let responses = vec![clock];
        drop(session.sender.send(Ok(ResponseBatch { responses })));
        tokio::spawn(async move {
            let mut first = true;
            while let Ok(Some(batch)) = incoming.message().await {
                assert_eq!(
                    batch.protocol,
                    u32::from(first),
                    "the protocol is named once, at first"
                );
                first = false;
                if session.take_in(batch).is_err() {
                    drop(session.sender.send(Err(Status::unavailable(
                        "the stream was broken by the script",
                    ))));
                    return;
                }
            }
        });
        Ok(Answer::new(Box::pin(UnboundedReceiverStream::new(
            receiver,
        ))))
    }
}

/// One stream as the server sees it.
struct Session {
    server: usize,
    state: Arc<Mutex<State>>,
    sender: mpsc::UnboundedSender<Result<ResponseBatch, Status>>,
    passwords: HashMap<u32, String>,
    /// The highest epoch refused, by table and partition.
    refused: HashMap<(u32, u32), u32>,
    ids: HashSet<u64>,
}

struct Broken;

impl Session {
    fn take_in(&mut self, batch: RequestBatch) -> Result<(), Broken> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap();
        for credential in batch.credentials {
            self.passwords.insert(credential.table, credential.password);
        }
        let (mut responses, mut refusals, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for request in batch.requests {
            assert!(
                self.ids.insert(request.id),
                "an id names one request in flight"
            );
            state.received.push(request.clone());
            let (act, result) = self.serve(&mut state, &request);
            match (act, result) {
                (Act::DoAndBreak | Act::Break, _) => return Err(Broken),
                (Act::Hold, result) => {
                    self.ids.remove(&request.id);
                    state.held.push((
                        self.sender.clone(),
                        Response {
                            id: request.id,
                            result,
                        },
                    ));
                }
                (Act::Swallow, _) => {}
                (Act::RefuseLate, result) => {
                    late.push(((request.table, request.partition), request.epoch));
                    self.ids.remove(&request.id);
                    refusals.push(Response {
                        id: request.id,
                        result,
                    });
                }
                (Act::Do | Act::Refuse(..), result) => responses.push(Response {
                    id: request.id,
                    result,
                }),
            }
        }
        self.refused.extend(late);
        if !refusals.is_empty() {
            let responses = refusals;
            drop(self.sender.send(Ok(ResponseBatch { responses })));
        }
        if let Some(seed) = &mut state.shuffle {
            for index in (1..responses.len()).rev() {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                responses.swap(index, (*seed >> 33) as usize % (index + 1));
            }
        }
        for response in &responses {
            self.ids.remove(&response.id);
        }
        if !responses.is_empty() {
            let middle = responses.len() / 2;
            let rest = responses.split_off(middle);
            for responses in [responses, rest] {
                drop(self.sender.send(Ok(ResponseBatch { responses })));
            }
        }
        Ok(())
    }

    fn serve(&mut self, state: &mut State, request: &Request) -> (Act, Option<response::Result>) {
        let key = (request.table, request.partition);
        let refuse = |kind, message: &str| (Act::Do, Some(refusal(kind, message)));
        let addresses: Vec<_> = (0..state.addresses.len())
            .map(|server| state.address(server))
            .collect();
        let Some(table) = state.by_id(request.table) else {
            return refuse(Kind::NoSuchTable, "t");
        };
        if table.password.as_ref() != self.passwords.get(&request.table) {
            return refuse(Kind::Unauthorized, "WRONGPASS invalid password");
        }
        // Reads that may be old have no order among the others, and any server answers them.
        let may_be_old = request.staleness > 0;
        if !may_be_old
            && self
                .refused
                .get(&key)
                .is_some_and(|&refused| request.epoch <= refused)
        {
            return refuse(Kind::Busy, "behind a refused one");
        }
        let act = (state.script)(self.server, request);
        if let Act::Refuse(kind, message) = act {
            let breaks_order = match kind {
                Kind::Unable => request.ordered,
                kind => matches!(kind, Kind::Busy | Kind::NotPrimary),
            };
            if breaks_order && !may_be_old {
                self.refused.insert(key, request.epoch);
            }
            return (act, Some(refusal(kind, message)));
        }
        if act == Act::Break {
            return (act, None);
        }
        if act == Act::RefuseLate {
            return (act, Some(refusal(Kind::Busy, "the ballot changed")));
        }
        let configured = |state: &mut State| {
            let partition = &state.by_id(request.table).expect("found above").partitions
                [request.partition as usize];
            (partition.primary, partition.ballot)
        };
        let (primary, _) = configured(state);
        if primary != self.server && !may_be_old {
            self.refused.insert(key, request.epoch);
            let table = state
                .tables
                .values()
                .find(|table| table.id == request.table)
                .expect("found above");
            let configuration = state.configuration(&table.partitions[request.partition as usize]);
            let refusal = Refusal {
                kind: Kind::NotPrimary.into(),
                message: "not the primary".into(),
                configuration: Some(configuration),
                primary: Some(addresses[primary].clone()),
            };
            return (Act::Do, Some(response::Result::Refusal(refusal)));
        }
        let partition = &mut state.by_id(request.table).expect("found above").partitions
            [request.partition as usize];
        let result = partition.take_in(request);
        (act, Some(result))
    }
}
