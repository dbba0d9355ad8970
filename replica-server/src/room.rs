//! How much room the disk has: a node that runs short of it takes no more data, and takes it again when there is room.
//!
//! The reserve is kept for what must still be written then: RocksDB's memtables, compactions, the log's own records. What happens
//! when even that is used up is the affair of whoever fails to write.

use crate::worker::Worker;
use rustix::fs::statvfs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use types::ByteSize;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Room {
    /// There is enough.
    #[default]
    Enough,
    /// Part of the reserve is used: no new data from clients.
    Short,
    /// Half of it is used: none from other nodes either.
    Out,
}

impl Room {
    /// What `free` bytes come to. Room is had again only with a sixteenth more than its loss took, so that nothing flutters.
    pub(crate) fn of(free: u64, reserve: ByteSize, before: Self) -> Self {
        let more = |bound: u64, worse: bool| if worse { bound + bound / 16 } else { bound };
        let half = reserve.0 / 2;
        if free < more(half, before == Self::Out) {
            Self::Out
        } else if free < more(reserve.0, before != Self::Enough) {
            Self::Short
        } else {
            Self::Enough
        }
    }
}

/// Bytes that may still be written below `path`.
fn free(path: &Path) -> io::Result<u64> {
    let disk = statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Looks every second how much room the disk has.
pub(crate) async fn watch(worker: Rc<Worker>, data_dir: PathBuf, reserve: ByteSize) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let path = data_dir.clone();
        // A disk that hangs must not stop the worker.
        let free = tokio::task::spawn_blocking(move || free(&path)).await;
        let Ok(Ok(free)) = free else {
            continue;
        };
        let before = worker.room.get();
        let now = Room::of(free, reserve, before);
        if now != before {
            worker.room.set(now);
            if now != Room::Enough {
                worker.kept_checkpoints.clear();
            }
            let free = ByteSize(free);
            match now {
                Room::Enough => tracing::info!(%free, "the disk has room again: new data is taken"),
                Room::Short => {
                    tracing::error!(%free, %reserve, "the disk is nearly full: no new data is taken from clients");
                }
                Room::Out => {
                    tracing::error!(%free, %reserve, "the disk is nearly full: no new data is taken at all");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_lost_at_the_reserve_and_had_again_with_a_sixteenth_more() {
        let reserve = ByteSize(1600);
        let mut room = Room::Enough;
        let steps = [
            (1600, Room::Enough),
            (1599, Room::Short),
            (1699, Room::Short),
            (1700, Room::Enough),
            (799, Room::Out),
            (849, Room::Out),
            (850, Room::Short),
            (1700, Room::Enough),
        ];
        for (free, expected) in steps {
            room = Room::of(free, reserve, room);
            assert_eq!(room, expected, "{free} bytes free");
        }
    }

    #[test]
    fn without_a_reserve_there_is_always_room() {
        assert_eq!(Room::of(0, ByteSize(0), Room::Enough), Room::Enough);
    }
}
