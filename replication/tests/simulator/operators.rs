//! Operators of the real `placement`: what they want moved, emptied or filled again, whenever it strikes them. What the balancer wants by
//! itself is its own.

use crate::leaders::Term;
use crate::world::World;
use placement::{Duty, Event, Request, Token};
use types::NodeId;

impl World {
    /// An operator moves a copy or a lead, or empties a node or fills it again; the leader may refuse.
    pub(crate) fn order(&mut self, term: Term) {
        let at = self.chance.index(self.partitions.len());
        let (node, other) = (self.some_node(), self.some_node());
        let table = format!("{:?}", self.swarm.tables[at].durability);
        let request = match self.chance.within(0..4) {
            0 => Request::Move {
                table,
                index: 0,
                from: node,
                to: other,
            },
            1 => Request::Lead {
                table,
                index: 0,
                to: node,
            },
            2 => Request::SetDuty {
                node,
                duty: Duty::Drained,
            },
            _ => Request::SetDuty {
                node,
                duty: Duty::Serves,
            },
        };
        // Nobody waits for the answer.
        let token = Token(0);
        self.step_leader(term, Event::Asked { token, request });
    }

    fn some_node(&mut self) -> NodeId {
        self.nodes[self.chance.index(self.nodes.len())].id
    }
}
