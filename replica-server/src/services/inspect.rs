//! Operators' questions, behind a guard that wants the admin secret: what a replica is, whether all copies are equal, which replicas are
//! busy, which commands were slow, what the server is set to and what it measures.

use crate::compare;
use crate::metrics::Shown;
use crate::services::digests::digests;
use crate::worker::Worker;
use engine::Haste;
use proto::inspect::inspect_server::Inspect;
use proto::inspect::{
    ConfigRequest, ConfigResponse, DigestsRequest, DigestsResponse, HotRequest, HotResponse,
    MetricsRequest, MetricsResponse, ReplicaRequest, ReplicaStatus, SlowLogRequest,
    SlowLogResponse,
};
use replication::RoleKind;
use std::rc::Rc;
use std::sync::Arc;
use telemetry::{Exposition, Subject};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};
use types::PartitionId;

/// Whether a copy that differs from a majority is to learn anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repair {
    Yes,
    No,
}

/// Where the worker's answer goes.
type Answer<T> = oneshot::Sender<Result<T, Status>>;

/// A question for the worker.
pub(crate) enum Question {
    Status(PartitionId, Answer<ReplicaStatus>),
    Digests(PartitionId, Repair, Answer<DigestsResponse>),
    Hot(HotRequest, Answer<HotResponse>),
    SlowLog(SlowLogRequest, Answer<SlowLogResponse>),
}

/// The gRPC side.
pub(crate) struct InspectService {
    pub(crate) questions: mpsc::UnboundedSender<Question>,
    pub(crate) config: ConfigResponse,
    pub(crate) shown: Arc<Shown>,
}

impl InspectService {
    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        // A worker that has ended drops the question.
        let _ = self.questions.send(question(answer));
        answered
            .await
            .map_err(|_| Status::unavailable("the server is stopping"))?
    }
}

pub(super) fn partition(
    partition: Option<proto::common::PartitionId>,
) -> Result<PartitionId, Status> {
    Ok(partition
        .ok_or_else(|| Status::invalid_argument("which partition?"))?
        .into())
}

#[tonic::async_trait]
impl Inspect for InspectService {
    async fn replica(
        &self,
        request: Request<ReplicaRequest>,
    ) -> Result<Response<ReplicaStatus>, Status> {
        let partition = partition(request.into_inner().partition)?;
        let status = self.ask(|answer| Question::Status(partition, answer));
        status.await.map(Response::new)
    }

    async fn digests(
        &self,
        request: Request<DigestsRequest>,
    ) -> Result<Response<DigestsResponse>, Status> {
        let request = request.into_inner();
        let repair = if request.repair {
            Repair::Yes
        } else {
            Repair::No
        };
        let partition = partition(request.partition)?;
        let digests = self.ask(|answer| Question::Digests(partition, repair, answer));
        digests.await.map(Response::new)
    }

    async fn hot(&self, request: Request<HotRequest>) -> Result<Response<HotResponse>, Status> {
        let request = request.into_inner();
        let hot = self.ask(|answer| Question::Hot(request, answer));
        hot.await.map(Response::new)
    }

    async fn slow_log(
        &self,
        request: Request<SlowLogRequest>,
    ) -> Result<Response<SlowLogResponse>, Status> {
        let request = request.into_inner();
        let told = self.ask(|answer| Question::SlowLog(request, answer));
        told.await.map(Response::new)
    }

    async fn config(&self, _: Request<ConfigRequest>) -> Result<Response<ConfigResponse>, Status> {
        Ok(Response::new(self.config.clone()))
    }

    async fn metrics(
        &self,
        _: Request<MetricsRequest>,
    ) -> Result<Response<MetricsResponse>, Status> {
        let mut exposition = Exposition::default();
        self.shown.describe(&mut exposition).await;
        let text = exposition.text();
        Ok(Response::new(MetricsResponse { text }))
    }
}

/// Answers questions on the worker, for ever.
pub(crate) async fn answer(worker: Rc<Worker>, mut questions: mpsc::UnboundedReceiver<Question>) {
    while let Some(question) = questions.recv().await {
        match question {
            Question::Status(partition, answer) => drop(answer.send(status(&worker, partition))),
            Question::Hot(request, answer) => drop(answer.send(Ok(worker.hottest(&request)))),
            Question::SlowLog(request, answer) => {
                let told = worker.slow_commands.tell(request, &worker.known.borrow());
                let _ = answer.send(Ok(told));
            }
            Question::Digests(partition, repair, answer) => {
                let worker = worker.clone();
                tokio::task::spawn_local(async move {
                    let _ = answer.send(match repair {
                        Repair::No => digests(&worker, partition, Haste::Now).await,
                        Repair::Yes => repaired(&worker, partition).await,
                    });
                });
            }
        }
    }
}

async fn repaired(worker: &Rc<Worker>, partition: PartitionId) -> Result<DigestsResponse, Status> {
    let (mut response, repaired) = compare::compare(worker, partition, Haste::Now).await?;
    response.repaired = repaired.into_iter().map(|node| node.0).collect();
    Ok(response)
}

fn status(worker: &Worker, partition: PartitionId) -> Result<ReplicaStatus, Status> {
    let hosted = worker
        .find(partition)
        .ok_or_else(|| Status::not_found(format!("no replica of partition {partition} is here")))?;
    let h = hosted.borrow();
    Ok(ReplicaStatus {
        node: worker.directory.node.0,
        role: role(h.core.role()).into(),
        ballot: h.core.ballot().0,
        committed: h.core.committed().0,
        prepared: h.core.prepared().0,
        applied: h.storage.applied().0,
        durable: h.storage.durable().0,
        configuration: h.core.configuration().map(Into::into),
    })
}

/// What operators call it.
pub(crate) fn role(kind: RoleKind) -> &'static str {
    match kind {
        RoleKind::Inactive => "inactive",
        RoleKind::Learner => "learner",
        RoleKind::Secondary => "secondary",
        RoleKind::Reconciling => "reconciling",
        RoleKind::Serving => "primary",
    }
}
