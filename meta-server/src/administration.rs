//! The gRPC service for operators, behind a guard that wants the admin secret; every other refusal is the cluster's own.

mod answers;

use crate::convert;
use crate::leader::{Command, wall};
use crate::services::Services;
use placement::{Answered, Balancing, Choice, Duty, Request as Change};
use proto::meta::{self, admin_server};
use tonic::{Request, Response, Status};
use types::NodeId;

/// Steps of a plan in one answer at most.
const MOST_STEPS: u32 = 10_000;

/// Unhealthy partitions in one answer, if nothing was said.
const UNHEALTHY: usize = 4096;

impl Services {
    async fn change(&self, request: Change) -> Result<Answered, Status> {
        self.ask(|reply| Command::Change { request, reply }).await
    }

    /// A change of which a table comes.
    async fn change_table(&self, request: Change) -> Result<Response<meta::Table>, Status> {
        match self.change(request).await? {
            Answered::Table(table) => Ok(Response::new(convert::table(&table))),
            other => Err(odd(&other)),
        }
    }

    /// A change of which nothing comes but that it is done.
    async fn do_it(&self, request: Change) -> Result<Response<meta::Done>, Status> {
        match self.change(request).await? {
            Answered::Done => Ok(Response::new(meta::Done {})),
            other => Err(odd(&other)),
        }
    }
}

fn odd(answered: &Answered) -> Status {
    Status::internal(format!("the leader answered something else: {answered:?}"))
}

#[tonic::async_trait]
impl admin_server::Admin for Services {
    async fn create_table(
        &self,
        request: Request<meta::CreateTableRequest>,
    ) -> Result<Response<meta::Table>, Status> {
        let specification = convert::specification(request.into_inner(), rand::random())?;
        self.change_table(Change::CreateTable(specification)).await
    }

    async fn alter_table(
        &self,
        request: Request<meta::AlterTableRequest>,
    ) -> Result<Response<meta::Table>, Status> {
        let request = request.into_inner();
        let changes = convert::changes(&request, rand::random())?;
        let name = request.name;
        self.change_table(Change::AlterTable { name, changes })
            .await
    }

    async fn rename_table(
        &self,
        request: Request<meta::RenameTableRequest>,
    ) -> Result<Response<meta::Table>, Status> {
        let meta::RenameTableRequest { name, to } = request.into_inner();
        self.change_table(Change::RenameTable { name, to }).await
    }

    async fn drop_table(
        &self,
        request: Request<meta::TableName>,
    ) -> Result<Response<meta::Table>, Status> {
        let name = request.into_inner().name;
        self.change_table(Change::DropTable { name, wall: wall() })
            .await
    }

    async fn recall_table(
        &self,
        request: Request<meta::TableName>,
    ) -> Result<Response<meta::Table>, Status> {
        let name = request.into_inner().name;
        self.change_table(Change::RecallTable { name }).await
    }

    async fn list_tables(
        &self,
        request: Request<meta::ListTablesRequest>,
    ) -> Result<Response<meta::ListTablesResponse>, Status> {
        let mut tables = self.ask(|reply| Command::Tables { reply }).await?;
        let dropped_too = request.into_inner().include_dropped;
        tables.retain(|table| dropped_too || table.dropped_at == 0);
        Ok(Response::new(meta::ListTablesResponse { tables }))
    }

    async fn show_table(
        &self,
        request: Request<meta::TableName>,
    ) -> Result<Response<meta::TableRoutes>, Status> {
        let name = request.into_inner().name;
        let routes = self.ask(|reply| Command::Routes { name, reply }).await?;
        Ok(Response::new(routes))
    }

    async fn list_nodes(
        &self,
        _request: Request<meta::ListNodesRequest>,
    ) -> Result<Response<meta::ListNodesResponse>, Status> {
        let nodes = self.ask(|reply| Command::Nodes { reply }).await?;
        Ok(Response::new(meta::ListNodesResponse { nodes }))
    }

    async fn balance(
        &self,
        request: Request<meta::BalanceRequest>,
    ) -> Result<Response<meta::BalanceResponse>, Status> {
        let steps = request.into_inner().steps.min(MOST_STEPS) as usize;
        self.look(move |cluster, now| answers::balance(cluster, now, steps))
            .await
            .map(Response::new)
    }

    async fn set_balancing(
        &self,
        request: Request<meta::SetBalancingRequest>,
    ) -> Result<Response<meta::Done>, Status> {
        let balancing = if request.into_inner().paused {
            Balancing::Paused
        } else {
            Balancing::Running
        };
        self.do_it(Change::SetBalancing(balancing)).await
    }

    async fn drain(
        &self,
        request: Request<meta::DrainRequest>,
    ) -> Result<Response<meta::Done>, Status> {
        let meta::DrainRequest { node, drain } = request.into_inner();
        let duty = if drain { Duty::Drained } else { Duty::Serves };
        let node = NodeId(node);
        self.do_it(Change::SetDuty { node, duty }).await
    }

    async fn forget(
        &self,
        request: Request<meta::ForgetRequest>,
    ) -> Result<Response<meta::Done>, Status> {
        let node = NodeId(request.into_inner().node);
        self.do_it(Change::ForgetNode(node)).await
    }

    async fn move_replica(
        &self,
        request: Request<meta::MoveRequest>,
    ) -> Result<Response<meta::Done>, Status> {
        let asked = request.into_inner();
        self.do_it(Change::Move {
            table: asked.table,
            index: asked.index,
            from: NodeId(asked.from),
            to: NodeId(asked.to),
        })
        .await
    }

    async fn move_primary(
        &self,
        request: Request<meta::MoveRequest>,
    ) -> Result<Response<meta::Done>, Status> {
        let asked = request.into_inner();
        self.do_it(Change::Lead {
            table: asked.table,
            index: asked.index,
            to: NodeId(asked.to),
        })
        .await
    }

    async fn health(
        &self,
        request: Request<meta::HealthRequest>,
    ) -> Result<Response<meta::HealthResponse>, Status> {
        let meta::HealthRequest { table, limit } = request.into_inner();
        let limit = if limit == 0 {
            UNHEALTHY
        } else {
            limit as usize
        };
        self.look(move |cluster, now| answers::health(cluster, now, &table, limit))
            .await?
            .map(Response::new)
    }

    async fn rescue(
        &self,
        request: Request<meta::RescueRequest>,
    ) -> Result<Response<meta::RescueResponse>, Status> {
        use meta::rescue_request::Choice as Wire;
        let asked = request.into_inner();
        let choice = match asked.choice {
            Some(Wire::Copy(node)) => Some((Choice::Copy(NodeId(node)), asked.word)),
            Some(Wire::Nothing(true)) => Some((Choice::Nothing, asked.word)),
            Some(Wire::Nothing(false)) | None => None,
        };
        let rescue = Change::Rescue {
            table: asked.table,
            index: asked.index,
            choice,
        };
        match self.change(rescue).await? {
            Answered::Rescue(rescue) => Ok(Response::new(answers::rescue(&rescue))),
            other => Err(odd(&other)),
        }
    }

    async fn rebuild(
        &self,
        request: Request<meta::RebuildRequest>,
    ) -> Result<Response<meta::RebuildResponse>, Status> {
        let meta::RebuildRequest { missing, word } = request.into_inner();
        let rebuild = Change::Rebuild {
            missing: missing.into_iter().map(NodeId).collect(),
            wall: wall(),
            word: (!word.is_empty()).then_some(word),
        };
        match self.change(rebuild).await? {
            Answered::Rebuild(rebuild) => Ok(Response::new(answers::rebuild(&rebuild))),
            Answered::Done => Ok(Response::new(meta::RebuildResponse {
                done: true,
                ..meta::RebuildResponse::default()
            })),
            other => Err(odd(&other)),
        }
    }
}
