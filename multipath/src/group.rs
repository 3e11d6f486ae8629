//! Which paths are used together: from paths with properties to groups in order of priority.
//!
//! Pure: the same paths always give the same groups.

use std::collections::BTreeMap;

/// How paths form groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Each path by itself.
    #[default]
    Failover,
    /// All in one.
    Multibus,
    /// By priority.
    ByPriority,
    /// By the serial number of the controller.
    BySerial,
    /// By the name of the target.
    ByNodeName,
    /// By the target port group.
    ByPortGroup,
}

impl Grouping {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Failover,
        Self::Multibus,
        Self::ByPriority,
        Self::BySerial,
        Self::ByNodeName,
        Self::ByPortGroup,
    ];

    /// Its name in `multipath.conf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Multibus => "multibus",
            Self::ByPriority => "group_by_prio",
            Self::BySerial => "group_by_serial",
            Self::ByNodeName => "group_by_node_name",
            Self::ByPortGroup => "group_by_tpg",
        }
    }
}

/// What grouping looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its priority.
    pub priority: i32,
    /// Whether it works now.
    pub usable: bool,
    /// The controller's serial number.
    pub serial: &'a str,
    /// The target's name.
    pub node: &'a str,
    /// The target port group.
    pub port_group: Option<u16>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    One(usize),
    All,
    Priority(i32),
    Text(&'a str),
    Number(Option<u16>),
}

/// Forms groups, each the indices of its paths in order. The best group comes first: by the mean
/// priority of its usable paths, then by their number; groups that are alike stay in the order of
/// their first paths.
pub fn form(grouping: Grouping, members: &[Member<'_>]) -> Vec<Vec<usize>> {
    let mut found: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let key = match grouping {
            Grouping::Failover => Key::One(index),
            Grouping::Multibus => Key::All,
            Grouping::ByPriority => Key::Priority(member.priority),
            Grouping::BySerial => Key::Text(member.serial),
            Grouping::ByNodeName => Key::Text(member.node),
            Grouping::ByPortGroup => Key::Number(member.port_group),
        };
        let number = *found.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[number].push(index);
    }
    groups.sort_by_key(|group| {
        let (priority, usable) = rank(group.iter().map(|&index| &members[index]));
        (std::cmp::Reverse(priority), std::cmp::Reverse(usable))
    });
    groups
}

/// The mean priority of the usable paths, and how many there are. A group without any ranks by
/// all of its paths, after every group that has some.
fn rank<'a>(members: impl Iterator<Item = &'a Member<'a>> + Clone) -> (i64, usize) {
    let mean = |sum: i64, count: usize| if count == 0 { 0 } else { sum / count as i64 };
    let usable = members.clone().filter(|member| member.usable);
    let count = usable.clone().count();
    if count > 0 {
        return (mean(usable.map(|member| i64::from(member.priority)).sum(), count), count);
    }
    let all = members.clone().count();
    (mean(members.map(|member| i64::from(member.priority)).sum(), all), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn member(priority: i32, serial: &'static str, port_group: u16) -> Member<'static> {
        Member { priority, usable: true, serial, node: serial, port_group: Some(port_group) }
    }

    #[test]
    fn each_policy_forms_its_groups_best_first() {
        let members =
            [member(10, "a", 2), member(50, "b", 1), member(10, "b", 2), member(50, "a", 1)];
        for (grouping, wanted) in [
            (Grouping::Failover, vec![vec![1], vec![3], vec![0], vec![2]]),
            (Grouping::Multibus, vec![vec![0, 1, 2, 3]]),
            (Grouping::ByPriority, vec![vec![1, 3], vec![0, 2]]),
            (Grouping::BySerial, vec![vec![0, 3], vec![1, 2]]),
            (Grouping::ByNodeName, vec![vec![0, 3], vec![1, 2]]),
            (Grouping::ByPortGroup, vec![vec![1, 3], vec![0, 2]]),
        ] {
            assert_eq!(form(grouping, &members), wanted, "{}", grouping.name());
        }
    }

    #[test]
    fn groups_rank_by_their_usable_paths_then_by_how_many() {
        let mut members = vec![member(50, "a", 1), member(20, "a", 1), member(30, "b", 2)];
        assert_eq!(form(Grouping::BySerial, &members), [vec![0, 1], vec![2]], "35 over 30");
        members[0].usable = false;
        assert_eq!(form(Grouping::BySerial, &members), [vec![2], vec![0, 1]], "30 over 20");
        let mut members = vec![member(1, "a", 1), member(1, "b", 2), member(1, "b", 2)];
        assert_eq!(form(Grouping::BySerial, &members), [vec![1, 2], vec![0]], "two over one");
        members.iter_mut().for_each(|member| member.usable = false);
        assert_eq!(form(Grouping::BySerial, &members), [vec![0], vec![1, 2]], "alike");
    }

    /// Whatever the policy, every path is in exactly one group, and `failover` and `multibus` are
    /// the two ends.
    #[test]
    fn groups_partition_the_paths() {
        for code in 0..3usize.pow(5) {
            let digit = |place: u32| code / 3usize.pow(place) % 3;
            let members: Vec<_> = (0..5)
                .map(|i| member(digit(i) as i32, ["x", "y", "z"][digit(i)], digit(i) as u16))
                .collect();
            for grouping in Grouping::ALL {
                let groups = form(grouping, &members);
                let mut all: Vec<usize> = groups.concat();
                all.sort_unstable();
                assert_eq!(all, [0, 1, 2, 3, 4], "{} {code}", grouping.name());
                assert!(groups.iter().all(|group| group.is_sorted() && !group.is_empty()));
            }
        }
    }
}
