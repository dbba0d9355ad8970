//! A meta server as its HTTP port sees it. What only the leader knows it is asked, briefly.

use super::history::History;
use super::overview::Overview;
use super::page::{Refresh, page};
use super::partitions;
use crate::leader::Command;
use crate::unwell::named;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::html;
use placement::{Condition, Health};
use proto::NotLeading;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use telemetry::{Exposition, Heart, Role, Subject, axum};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Code, Status};
use types::NodeId;

/// How long the leader may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A process whose runtime has given no turn for so long hangs.
const STALL: Duration = Duration::from_secs(5);
/// The health of a large cluster takes the leader some milliseconds: so long it is shown again.
const HEALTH_LASTS: Duration = Duration::from_secs(3);
/// Partitions that the page tells of.
const AILMENTS: usize = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shown {
    heart: Heart,
    commands: mpsc::Sender<Command>,
    beginning: Instant,
    history: Arc<Mutex<History>>,
    health: Mutex<Option<(Instant, Arc<Health>)>>,
    /// Where whoever leads is reached, as far as that is known here.
    leader: watch::Receiver<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    pub(crate) fn new(
        heart: Heart,
        commands: mpsc::Sender<Command>,
        beginning: Instant,
        history: Arc<Mutex<History>>,
        leader: watch::Receiver<Option<String>>,
    ) -> Self {
        Self {
            heart,
            commands,
            beginning,
            history,
            health: Mutex::default(),
            leader,
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Status>>) -> Command,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.commands.send(command(reply)).await.ok()?;
            answer.await.ok()
        };
        let unavailable = || {
            let leader = self.leader.borrow().clone();
            NotLeading { leader }.into()
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered
            .ok()
            .flatten()
            .unwrap_or_else(|| Err(unavailable()))
    }

    async fn health(&self) -> Result<Arc<Health>, Status> {
        let known = lock(&self.health).clone();
        if let Some((at, health)) = known
            && at.elapsed() < HEALTH_LASTS
        {
            return Ok(health);
        }
        let asked =
            |reply| Command::look(reply, |cluster, now| cluster.health(now, None, AILMENTS));
        let health = Arc::new(self.ask(asked).await?);
        *lock(&self.health) = Some((Instant::now(), health.clone()));
        Ok(health)
    }
}

impl Subject for Shown {
    fn role(&self) -> Role {
        Role::Meta
    }

    fn health(&self) -> Result<(), String> {
        let still = self.heart.still_for();
        if still < STALL {
            Ok(())
        } else {
            Err(format!("the server stands still since {still:?}"))
        }
    }

    async fn ready(&self) -> Result<(), String> {
        match self.ask(|reply| Command::Leads { reply }).await {
            // One that stands by does what it is there for: it sends whoever asks it to the leader.
            Err(_) if self.leader.borrow().is_some() => Ok(()),
            leads => leads.map_err(|status| status.message().to_owned()),
        }
    }

    async fn describe(&self, into: &mut Exposition) {
        let health = Self::health(self).await;
        into.gauge(
            "tulpar_meta_leading",
            "Whether this meta server leads. Only the leader has the other tulpar_meta metrics.",
            f64::from(u8::from(health.is_ok())),
        );
        let Ok(health) = health else { return };
        into.gauge(
            "tulpar_meta_term",
            "The leader's term.",
            health.epoch as f64,
        );
        let nodes = into.gauges("tulpar_meta_nodes", "Replica servers, by state.");
        let (alive, known) = health.nodes;
        nodes.sample(&[("state", "connected")], alive as f64);
        nodes.sample(&[("state", "away")], (known - alive) as f64);
        into.gauge(
            "tulpar_meta_tables",
            "Tables in service.",
            health.tables as f64,
        );
        into.gauge(
            "tulpar_meta_partitions",
            "Partitions of tables in service.",
            health.partitions as f64,
        );
        let unwell = into.gauges(
            "tulpar_meta_partitions_unwell",
            "Partitions that are not as they should be, by the worst that is wrong with each.",
        );
        for (condition, count) in Condition::ALL.iter().zip(health.unwell) {
            unwell.sample(&[("condition", condition.name())], count as f64);
        }
        into.gauge(
            "tulpar_meta_learns",
            "Copies asked for that are on their way.",
            health.learns as f64,
        );
    }

    fn pages(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(overview))
            .route("/table", get(table))
            .with_state(self)
    }
}

/// What may be asked of the overview.
#[derive(Debug, Deserialize)]
struct OverviewQuery {
    nodes: Option<usize>,
    tables: Option<usize>,
}

async fn overview(
    State(shown): State<Arc<Shown>>,
    Query(query): Query<OverviewQuery>,
) -> Result<Response, Refused> {
    let health = Shown::health(&shown).await?;
    let mut nodes = shown.ask(|reply| Command::Nodes { reply }).await?;
    nodes.sort_by_cached_key(|node| named(node.address.as_ref()));
    let tables = shown.ask(|reply| Command::Tables { reply }).await?;
    let history = lock(&shown.history);
    let overview = Overview {
        health: &health,
        nodes,
        tables,
        history: &history,
        now: shown.beginning.elapsed(),
        nodes_page: query.nodes,
        tables_page: query.tables,
    };
    Ok(overview.render())
}

/// What may be asked of a table's page.
#[derive(Debug, Deserialize)]
struct TableQuery {
    name: String,
    page: Option<usize>,
}

async fn table(
    State(shown): State<Arc<Shown>>,
    Query(query): Query<TableQuery>,
) -> Result<Response, Refused> {
    let name = query.name;
    let routes = shown.ask(|reply| Command::Routes { name, reply }).await?;
    let nodes = shown.ask(|reply| Command::Nodes { reply }).await?;
    let alive: BTreeSet<NodeId> = nodes
        .iter()
        .filter(|node| node.alive)
        .filter_map(|node| node.address.as_ref())
        .map(|address| NodeId(address.node))
        .collect();
    Ok(partitions::render(
        &routes,
        |node| alive.contains(&node),
        query.page,
    ))
}

/// There is nothing to show: in the leader's words.
struct Refused(Status);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = match self.0.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = html! {
            p { a href="/" { "Tulpar" } }
            h1 { (self.0.message()) }
            @if code == StatusCode::SERVICE_UNAVAILABLE {
                p { "The leader has the page; this one is looked for again by itself." }
            }
        };
        (code, page("Tulpar", Refresh::Yes, &body)).into_response()
    }
}
