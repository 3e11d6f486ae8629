//! Random histories against a plain array of bytes.
//!
//! A history writes, reads, breaks members, adds spares, restarts, and cuts the power, in any
//! order; the array must agree with the model at every step. What a step cannot do where it stands
//! (fail a member that cannot be spared) it leaves. Within tolerance nothing may fail; beyond it (a
//! latent error while a member is missing) an error is right and wrong data is not.
//!
//! The histories are the same in every run; `PROPTEST_RNG_SEED=n PROPTEST_CASES=100000` draws
//! others. Ones that failed are kept in `proptest-regressions/` and tried first, for ever.

mod run;

use holdfast_raid::Level;
use holdfast_raid::superblock::Minor;
use holdfast_sim::recipe::Recipe;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use run::Run;

/// What a history runs on.
#[derive(Clone, Debug)]
struct Setting {
    recipe: Recipe,
    /// Whether disks reorder and take their time.
    slow: bool,
    seed: u64,
}

/// A range of the array, wherever its size puts it: a start in 65536ths, a length in sectors.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u16,
    sectors: u16,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Write(u64),
    Zero,
    Discard,
}

#[derive(Clone, Debug)]
enum Step {
    Change(Span, Change),
    /// Writes in flight together.
    Together(Vec<(Span, u64)>),
    Read(Span),
    Flush,
    /// Somebody fails a member, or it goes silent.
    Fail {
        member: u8,
        silently: bool,
    },
    AddSpare,
    /// Sectors of a member become unreadable.
    Latent {
        member: u8,
        sector: u8,
        sectors: u8,
    },
    /// Time for rebuilds, clean marks and bitmaps.
    Pass {
        millis: u16,
    },
    Settle,
    Check,
    /// Stopped in good order and assembled again.
    Restart,
    /// The process dies, the disks do not.
    Kill,
    /// The power fails, perhaps in the middle of writes.
    PowerCut {
        writes: Vec<(Span, u64)>,
        millis: u8,
        seed: u64,
    },
}

fn span() -> impl Strategy<Value = Span> {
    let sectors = prop_oneof![4 => 1u16..20, 1 => 20u16..200];
    (any::<u16>(), sectors).prop_map(|(at, sectors)| Span { at, sectors })
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let shapes = prop_oneof![
        (2usize..=4).prop_map(|n| Recipe::of(Level::Raid1, n)),
        (3usize..=6).prop_map(|n| Recipe::of(Level::Raid4, n)),
        (3usize..=6, 0u32..6).prop_map(|(n, l)| Recipe::of(Level::Raid5, n).layout(l)),
        (4usize..=7, 0usize..14).prop_map(|(n, l)| {
            let layouts = [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20];
            Recipe::of(Level::Raid6, n).layout(layouts[l])
        }),
        (3usize..=6, 0usize..5).prop_map(|(n, l)| {
            let layouts = [0x102, 0x103, 0x201, 0x10201, 0x301];
            Recipe::of(Level::Raid10, n).layout(layouts[l])
        }),
        Just(Recipe::of(Level::Raid0, 3)),
    ];
    let minors = [Minor::V1_0, Minor::V1_1, Minor::V1_2];
    let minor = prop::sample::select(minors.to_vec());
    let chunk = prop::sample::select(vec![8u32, 8, 16, 32]);
    let bitmap = prop::option::of(prop::sample::select(vec![4096u64, 16384]));
    let sectors = prop::sample::select(vec![128u64, 128, 256]);
    let rest = (minor, chunk, bitmap, sectors, 0usize..2, any::<bool>());
    (shapes, rest).prop_map(|(shape, (minor, chunk, bitmap, sectors, spares, clean))| {
        let redundant = shape.level.is_redundant();
        Recipe {
            minor,
            chunk_sectors: if shape.level == Level::Raid1 { 0 } else { chunk },
            bitmap: bitmap.filter(|_| redundant),
            clean,
            ..shape.sectors(sectors).spares(if redundant { spares } else { 0 })
        }
    })
}

struct History;

impl ReferenceStateMachine for History {
    type State = Setting;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Setting> {
        let setting = (recipe(), any::<bool>(), any::<u64>());
        setting.prop_map(|(recipe, slow, seed)| Setting { recipe, slow, seed }).boxed()
    }

    fn transitions(_: &Setting) -> BoxedStrategy<Step> {
        let change = prop_oneof![
            8 => any::<u64>().prop_map(Change::Write),
            1 => Just(Change::Zero),
            1 => Just(Change::Discard),
        ];
        let batch = || prop::collection::vec((span(), any::<u64>()), 1..8);
        prop_oneof![
            10 => (span(), change).prop_map(|(span, change)| Step::Change(span, change)),
            5 => batch().prop_map(Step::Together),
            5 => span().prop_map(Step::Read),
            3 => Just(Step::Flush),
            4 => (any::<u8>(), any::<bool>())
                .prop_map(|(member, silently)| Step::Fail { member, silently }),
            3 => Just(Step::AddSpare),
            3 => (any::<u8>(), any::<u8>(), 1u8..10)
                .prop_map(|(member, sector, sectors)| Step::Latent { member, sector, sectors }),
            4 => (1u16..400).prop_map(|millis| Step::Pass { millis }),
            1 => (5000u16..30000).prop_map(|millis| Step::Pass { millis }),
            2 => Just(Step::Settle),
            2 => Just(Step::Check),
            2 => Just(Step::Restart),
            2 => Just(Step::Kill),
            4 => (prop::collection::vec((span(), any::<u64>()), 0..6), any::<u8>(), any::<u64>())
                .prop_map(|(writes, millis, seed)| Step::PowerCut { writes, millis, seed }),
        ]
        .boxed()
    }

    fn apply(setting: Setting, _: &Step) -> Setting {
        setting
    }
}

impl StateMachineTest for History {
    type SystemUnderTest = Run;
    type Reference = Self;

    fn init_test(setting: &Setting) -> Run {
        Run::new(setting)
    }

    fn apply(mut run: Run, _: &Setting, step: Step) -> Run {
        run.step(step);
        run
    }

    fn teardown(mut run: Run, _: Setting) {
        run.read_everything();
        run.check();
        run.read_everything();
    }
}

/// So many histories in an ordinary run.
const CASES: u32 = 250;

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let kept = FileFailurePersistence::Direct("proptest-regressions/histories.txt");
    ProptestConfig {
        cases: if default.cases == 256 { CASES } else { default.cases },
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            given => given,
        },
        failure_persistence: Some(Box::new(kept)),
        max_shrink_iters: 3000,
        ..default
    }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn every_history_agrees_with_plain_bytes(sequential 1..50 => History);
}
