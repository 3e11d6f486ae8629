//! The grid of a campaign does not depend on how the work was shared out, and some thousand seeds
//! meet the situations that recovery is made for.

use holdfast_sim::coverage::{Goal, Survey};
use holdfast_sim::swarm::Profile;

#[test]
fn a_survey_cut_in_parts_adds_up_to_the_same() {
    let of = |seeds| Survey::of(Profile::Small, seeds, |_| {});
    let whole = of(40..70);
    let merged = [of(61..70), of(40..43), of(43..61)].into_iter().reduce(Survey::merge);
    assert!(!whole.grid.is_empty());
    assert_eq!(merged, Some(whole));
}

#[test]
fn some_thousand_seeds_meet_every_goal() {
    let survey = Survey::of(Profile::Small, 0..1600, |_| {});
    assert_eq!(survey.failures, []);
    let unmet: Vec<&str> = survey.unmet().iter().map(|goal: &Goal| goal.name).collect();
    assert!(unmet.is_empty(), "never met: {unmet:?}");
}
