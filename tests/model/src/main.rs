use model::Omission;
use model::log::*;
use stateright::*;
fn main() {
    let a: Vec<u8> = std::env::args()
        .nth(1)
        .unwrap()
        .split(',')
        .map(|x| x.parse().unwrap())
        .collect();
    let without = std::env::args().nth(2).filter(|x| x != "-");
    let all = [
        Omission::L1Cancels,
        Omission::L1Gaps,
        Omission::L2Forgets,
        Omission::L2Lower,
        Omission::L3Leads,
        Omission::L4Cuts,
        Omission::L4Offer,
        Omission::C1Proposed,
        Omission::C1Stored,
        Omission::C1Changes,
        Omission::C2Serves,
        Omission::C2Acks,
        Omission::C2Lower,
        Omission::C2Duty,
        Omission::C3AnyBallot,
        Omission::C4Whole,
        Omission::C4Learn,
        Omission::C4Member,
        Omission::C5Configuration,
        Omission::C5Learn,
        Omission::C5Mark,
        Omission::C6Boot,
        Omission::C6Promise,
        Omission::C6Largest,
        Omission::C6Epoch,
    ];
    let without = without.map(|w| all.into_iter().find(|o| format!("{o:?}") == w).unwrap());
    let symmetry = std::env::args().nth(3).is_none();
    let m = LogModel {
        bounds: Bounds {
            members: a[0],
            ballots: a[1],
            decrees: a[2],
            durability: if a[3] == 1 {
                Durability::Buffered
            } else {
                Durability::Sync
            },
            hand_over: a[4] == 1,
            faults: Faults {
                restarts: a[5],
                power_losses: a[6],
                emptied: a[7],
                learns: a[8],
            },
        },
        without,
        symmetry,
    };
    let t = std::time::Instant::now();
    let fin = HasDiscoveries::AnyFailures;
    let c = m
        .checker()
        .threads(1)
        .finish_when(fin)
        .target_state_count(60_000_000)
        .spawn_bfs()
        .join();
    println!(
        "{without:?} generated {} unique {} depth {} {:?}",
        c.state_count(),
        c.unique_state_count(),
        c.max_depth(),
        t.elapsed()
    );
    for (name, p) in c.discoveries() {
        let acts = p.into_actions();
        println!("  {name}: {}", acts.len());
        if !symmetry {
            for a in acts {
                println!("     {a:?}");
            }
        }
    }
}
