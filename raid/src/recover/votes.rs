//! Who sits where, by what fits best.
//!
//! A check asks: does the block the array has in slot `s` look right on member `m`? Its answer
//! does not depend on where the other members sit. So the checks of one geometry fill a matrix
//! slots × members, and the best of all n! orders is the assignment with the largest sum, found in
//! n³ steps (the Hungarian method). What the matrix cannot tell apart, no order can: two seats
//! whose exchange changes nothing are equal, and said to be.

/// Agreements found for one geometry, by slot and member.
#[derive(Clone, Debug)]
pub(super) struct Votes {
    slots: usize,
    members: usize,
    weights: Vec<u32>,
}

impl Votes {
    pub(super) fn new(slots: usize, members: usize) -> Self {
        Self { slots, members, weights: vec![0; slots * members] }
    }

    /// A check that asked for `slot` found what it looked for on `member`.
    pub(super) fn add(&mut self, slot: usize, member: usize, weight: u32) {
        self.weights[slot * self.members + member] += weight;
    }

    /// The agreements of a member in a slot.
    pub(super) fn get(&self, slot: usize, member: usize) -> u32 {
        self.weights[slot * self.members + member]
    }

    fn value(&self, slot: usize, seat: Option<usize>) -> i64 {
        seat.map_or(0, |member| self.get(slot, member).into())
    }

    /// The best seat for every slot. `None` where there are fewer members than slots.
    pub(super) fn best(&self) -> Seats {
        // Rows are slots, columns are members and enough dummies for slots to stay empty.
        let columns = self.members.max(self.slots);
        let cost = |slot: usize, column: usize| -> i64 {
            if column < self.members { -i64::from(self.get(slot, column)) } else { 0 }
        };
        let taken = hungarian(self.slots, columns, cost);
        let seats: Vec<Option<usize>> =
            taken.into_iter().map(|column| (column < self.members).then_some(column)).collect();
        let total = seats.iter().enumerate().map(|(slot, seat)| self.value(slot, *seat)).sum();
        Seats { seats, total }
    }

    /// What is lost by the exchange of two slots' members.
    pub(super) fn price_of_exchange(&self, seats: &[Option<usize>], a: usize, b: usize) -> i64 {
        self.value(a, seats[a]) + self.value(b, seats[b])
            - self.value(a, seats[b])
            - self.value(b, seats[a])
    }

    /// What is lost by seating another member in a slot.
    pub(super) fn price_of_replacing(
        &self,
        seats: &[Option<usize>],
        slot: usize,
        member: usize,
    ) -> i64 {
        self.value(slot, seats[slot]) - self.value(slot, Some(member))
    }
}

/// An order of the members and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seats {
    pub(super) seats: Vec<Option<usize>>,
    pub(super) total: i64,
}

/// The column of each row in the cheapest assignment. `rows` ≤ `columns`.
///
/// Rows are placed one after another, each along the cheapest chain of displacements; potentials
/// keep all reduced costs at or above zero.
fn hungarian(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> i64) -> Vec<usize> {
    assert!(rows <= columns, "more rows than columns");
    let (mut row_potential, mut column_potential) = (vec![0; rows + 1], vec![0; columns + 1]);
    // Index 0 of everything is nobody; `holder[c]` is the row that has column c.
    let mut holder = vec![0; columns + 1];
    for row in 1..=rows {
        holder[0] = row;
        let mut column = 0;
        let mut reach = vec![i64::MAX; columns + 1];
        let (mut from, mut visited) = (vec![0; columns + 1], vec![false; columns + 1]);
        while holder[column] != 0 {
            visited[column] = true;
            let displaced = holder[column];
            let (mut step, mut next) = (i64::MAX, 0);
            for other in (1..=columns).filter(|other| !visited[*other]) {
                let reduced = cost(displaced - 1, other - 1)
                    - row_potential[displaced]
                    - column_potential[other];
                if reduced < reach[other] {
                    (reach[other], from[other]) = (reduced, column);
                }
                if reach[other] < step {
                    (step, next) = (reach[other], other);
                }
            }
            for other in 0..=columns {
                if visited[other] {
                    row_potential[holder[other]] += step;
                    column_potential[other] -= step;
                } else if reach[other] != i64::MAX {
                    reach[other] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            holder[column] = holder[from[column]];
            column = from[column];
        }
    }
    let mut taken = vec![0; rows];
    (1..=columns).filter(|column| holder[*column] != 0).for_each(|column| {
        taken[holder[column] - 1] = column - 1;
    });
    taken
}

#[cfg(test)]
mod tests {
    use holdfast_core::rng::Rng;

    use super::*;

    fn permutations(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for shorter in permutations(count - 1) {
            for place in 0..count {
                let mut longer = shorter.clone();
                longer.insert(place, count - 1);
                all.push(longer);
            }
        }
        all
    }

    #[test]
    fn the_best_order_is_the_best_of_all_orders() {
        let mut rng = Rng::new(7);
        for round in 0..200 {
            let (slots, members) = (1 + round % 5, 1 + (round / 5) % 6);
            let mut votes = Votes::new(slots, members);
            for slot in 0..slots {
                for member in 0..members {
                    votes.add(slot, member, rng.below(9) as u32);
                }
            }
            let wide = slots.max(members);
            let value = |order: &Vec<usize>| -> i64 {
                let seat = |slot: usize| Some(order[slot]).filter(|member| *member < members);
                (0..slots).map(|slot| votes.value(slot, seat(slot))).sum()
            };
            let best = permutations(wide).iter().map(value).max().unwrap();
            assert_eq!(votes.best().total, best, "round {round}");
        }
    }

    #[test]
    fn seats_nobody_voted_on_cost_nothing_to_exchange() {
        let mut votes = Votes::new(4, 4);
        votes.add(0, 2, 5);
        votes.add(1, 3, 4);
        let best = votes.best();
        assert_eq!((best.seats[0], best.seats[1]), (Some(2), Some(3)));
        assert_eq!(votes.price_of_exchange(&best.seats, 0, 1), 9);
        assert_eq!(votes.price_of_exchange(&best.seats, 2, 3), 0);
        assert_eq!(votes.price_of_replacing(&best.seats, 0, 3), 5);
    }

    #[test]
    fn more_slots_than_members_leaves_the_poorest_slot_empty() {
        let mut votes = Votes::new(3, 2);
        votes.add(0, 1, 1);
        votes.add(2, 0, 1);
        assert_eq!(votes.best().seats, [Some(1), None, Some(0)]);
    }
}
