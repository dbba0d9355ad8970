//! What a meta server shows over HTTP: health, readiness, metrics, and the page of the cluster.
//!
//! ```text
//!  nodes ──loads──► services ──► history ──┐
//!  leader ◄──asked── shown ────────────────┴─► pages (overview, partitions), rendered here; plots are SVG in the page
//! ```
//!
//! The page needs no script and nothing from elsewhere. It changes nothing: that is the shell's.
//!
//! Reading order: `history` (the last hour), `shown` (health, metrics, routes of the pages), `page` (what all pages have), `overview`,
//! `partitions`, `plot`, `words` (numbers as people read them).

mod history;
mod overview;
mod page;
mod partitions;
mod plot;
mod shown;
mod words;

pub(crate) use history::History;
pub(crate) use shown::Shown;
