//! Random histories of accounts with second factors, compared with a small model: no log-in, no reset and no undoing of an address
//! succeeds without a factor that the account holds, nothing works twice, and a session ends with the factor that has begun or
//! raised it (rows F01 to F04).

mod world;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use vestibule::values::second_factor_policy::SecondFactorPolicy as Policy;

use self::world::World;

/// The names of the accounts.
const PEOPLE: [&str; 2] = ["ada", "bob"];

/// What a client sends as a factor. Numbers are modulo the count of what they select.
#[derive(Debug, Clone, Copy)]
enum Presented {
    /// The code that an app shows, so many steps from now.
    Code {
        app: usize,
        steps: i64,
    },
    WrongCode,
    RecoveryCode {
        code: usize,
    },
    /// What a passkey of any account has signed: in an earlier ceremony, or in one that begins now for this very purpose.
    Passkey {
        passkey: usize,
        ceremony: Option<usize>,
    },
}

/// One step of a history. Numbers are modulo the count of what they select. Sessions, challenges, ceremonies and tickets are counted
/// from the newest, which is 0.
#[derive(Debug, Clone)]
enum Step {
    Password {
        person: usize,
    },
    /// Begins a ceremony, for a challenge or for anybody.
    Begin {
        challenge: Option<usize>,
    },
    LogInBy {
        passkey: usize,
        ceremony: usize,
    },
    Complete {
        challenge: usize,
        presented: Presented,
    },
    Again {
        session: usize,
        presented: Presented,
    },
    EnrolApp {
        session: usize,
    },
    AddPasskey {
        session: usize,
    },
    Remove {
        session: usize,
        factor: usize,
    },
    ReplaceCodes {
        session: usize,
    },
    ChangePassword {
        session: usize,
    },
    /// Requests another address, and confirms it.
    ChangeAddress {
        session: usize,
    },
    RequestReset {
        person: usize,
    },
    ResetPassword {
        ticket: usize,
        presented: Option<Presented>,
    },
    /// Undoes a change of address.
    Revert {
        ticket: usize,
        presented: Option<Presented>,
    },
    ResetFactors {
        person: usize,
    },
    SetPassword {
        person: usize,
    },
    SetRoles {
        person: usize,
        more: bool,
    },
    Disable {
        person: usize,
    },
    Enable {
        person: usize,
    },
    SetPolicy {
        policy: Policy,
    },
    Wait {
        seconds: u64,
    },
    SetClock {
        seconds: i64,
    },
    Restart,
}

fn presented() -> impl Strategy<Value = Presented> {
    let passkey = (0..4_usize, prop::option::weighted(0.3, 0..4_usize));
    prop_oneof![
        6 => (0..3_usize, -2..3_i64).prop_map(|(app, steps)| Presented::Code { app, steps }),
        1 => Just(Presented::WrongCode),
        2 => (0..10_usize).prop_map(|code| Presented::RecoveryCode { code }),
        5 => passkey.prop_map(|(passkey, ceremony)| Presented::Passkey { passkey, ceremony }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    const DAY: u64 = 24 * 3600;
    let (session, person, ticket) = (|| 0..6_usize, || 0..PEOPLE.len(), || 0..3_usize);
    let policies = vec![Policy::None, Policy::Administrators, Policy::Everyone];
    let proven = || (ticket(), prop::option::weighted(0.8, presented()));
    prop_oneof![
        6 => person().prop_map(|person| Step::Password { person }),
        2 => prop::option::of(0..4_usize).prop_map(|challenge| Step::Begin { challenge }),
        4 => (0..4_usize, 0..4_usize).prop_map(|(passkey, ceremony)| Step::LogInBy { passkey, ceremony }),
        8 => (0..4_usize, presented()).prop_map(|(challenge, presented)| Step::Complete { challenge, presented }),
        3 => (session(), presented()).prop_map(|(session, presented)| Step::Again { session, presented }),
        3 => session().prop_map(|session| Step::EnrolApp { session }),
        3 => session().prop_map(|session| Step::AddPasskey { session }),
        2 => (session(), 0..3_usize).prop_map(|(session, factor)| Step::Remove { session, factor }),
        1 => session().prop_map(|session| Step::ReplaceCodes { session }),
        1 => session().prop_map(|session| Step::ChangePassword { session }),
        2 => session().prop_map(|session| Step::ChangeAddress { session }),
        2 => person().prop_map(|person| Step::RequestReset { person }),
        3 => proven().prop_map(|(ticket, presented)| Step::ResetPassword { ticket, presented }),
        2 => proven().prop_map(|(ticket, presented)| Step::Revert { ticket, presented }),
        1 => person().prop_map(|person| Step::ResetFactors { person }),
        1 => person().prop_map(|person| Step::SetPassword { person }),
        1 => (person(), any::<bool>()).prop_map(|(person, more)| Step::SetRoles { person, more }),
        1 => person().prop_map(|person| Step::Disable { person }),
        2 => person().prop_map(|person| Step::Enable { person }),
        1 => prop::sample::select(policies).prop_map(|policy| Step::SetPolicy { policy }),
        6 => prop::sample::select(vec![1, 29, 30, 31, 60, 599, 600, 601, 1800, 7 * DAY])
            .prop_map(|seconds| Step::Wait { seconds }),
        2 => prop::sample::select(vec![-600, -60, -30, 30, 60]).prop_map(|seconds| Step::SetClock { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// Returns histories of at most so many random steps, most of which begin with accounts that have something to lose.
fn history(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let (session, wait) = (0, Step::Wait { seconds: 30 });
    let log_in = || vec![Step::Password { person: 0 }];
    let (app, passkey) = (Step::EnrolApp { session }, Step::AddPasskey { session });
    let (address, codes) = (Step::ChangeAddress { session }, Step::ReplaceCodes { session });
    let beginnings = vec![
        Vec::new(),
        [log_in(), vec![app.clone(), wait.clone()]].concat(),
        [log_in(), vec![passkey.clone(), wait.clone(), Step::Begin { challenge: None }]].concat(),
        [log_in(), vec![app.clone(), wait.clone(), address.clone(), wait.clone(), passkey.clone(), codes.clone()]].concat(),
        [log_in(), vec![passkey, wait.clone(), address, wait, app, codes, Step::RequestReset { person: 0 }]].concat(),
    ];
    let steps = prop::collection::vec(step(), 1..most);
    (prop::sample::select(beginnings), steps).prop_map(|(beginning, steps)| [beginning, steps].concat())
}

/// Plays a history, and returns the world at its end.
fn run(steps: &[Step]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::start().await;
        for (number, step) in steps.iter().enumerate() {
            world.apply(step).await;
            world.check_one(number).await;
        }
        world.check_all().await;
        world
    })
}

const fn code(steps: i64) -> Presented {
    Presented::Code { app: 0, steps }
}

const fn complete(challenge: usize, presented: Presented) -> Step {
    Step::Complete { challenge, presented }
}

#[test]
fn f01_a_history_in_which_each_step_has_its_effect() {
    let world = run(&[
        Step::Password { person: 0 },
        Step::EnrolApp { session: 0 },
        Step::Password { person: 0 },
        complete(0, code(0)), // the code of the enrolment
        complete(0, code(1)),
        Step::Password { person: 0 },
        complete(0, Presented::RecoveryCode { code: 0 }),
        Step::Password { person: 0 },
        complete(0, Presented::RecoveryCode { code: 0 }),
        Step::Remove { session: 0, factor: 0 },
    ]);
    // The first two sessions have ended with the app; the third was begun with a recovery code.
    assert_eq!(world.ended(), [true, true, false]);
    assert_eq!(world.wrong(), [1, 0, 1]);
}

#[test]
fn f01_a_history_of_passkeys_in_which_each_step_has_its_effect() {
    let signed = |ceremony| Presented::Passkey { passkey: 0, ceremony };
    let world = run(&[
        Step::Password { person: 0 },
        Step::AddPasskey { session: 0 },
        Step::Begin { challenge: None },
        Step::LogInBy { passkey: 0, ceremony: 0 },
        Step::LogInBy { passkey: 0, ceremony: 0 }, // the same ceremony
        Step::Password { person: 0 },
        complete(0, signed(Some(0))), // a ceremony that was used
        complete(0, signed(None)),
        Step::Wait { seconds: 601 },
        Step::EnrolApp { session: 1 }, // no fresh proof
        Step::Again { session: 1, presented: signed(None) },
        Step::EnrolApp { session: 1 },
        Step::Remove { session: 1, factor: 0 }, // the app, which has raised the session
    ]);
    assert_eq!(world.ended(), [false, true, false]);
    assert_eq!(world.wrong(), [1]);
}

#[test]
fn f02_a_history_of_mails_in_which_each_step_has_its_effect() {
    let world = run(&[
        Step::Password { person: 0 },
        Step::EnrolApp { session: 0 },
        Step::Wait { seconds: 30 },
        Step::ChangeAddress { session: 0 },
        Step::Wait { seconds: 60 },
        Step::AddPasskey { session: 0 },
        Step::RequestReset { person: 0 },
        Step::ResetPassword { ticket: 0, presented: None },
        Step::ResetPassword { ticket: 0, presented: Some(Presented::WrongCode) },
        Step::ResetPassword { ticket: 0, presented: Some(Presented::Passkey { passkey: 0, ceremony: None }) },
        Step::Revert { ticket: 0, presented: Some(Presented::Passkey { passkey: 0, ceremony: None }) }, // it is too young
        Step::Revert { ticket: 0, presented: None },
    ]);
    // The session that the reset has ended. The address was never restored, because only the younger factor was presented.
    assert_eq!(world.ended(), [true]);
    assert_eq!(world.undone(), [false]);
    let world = run(&[
        Step::Password { person: 0 },
        Step::ChangeAddress { session: 0 },
        Step::Wait { seconds: 60 },
        Step::AddPasskey { session: 0 },
        Step::Revert { ticket: 0, presented: None },
        Step::Password { person: 0 },
    ]);
    // The passkey has gone with the address, so the password suffices.
    assert_eq!(world.ended(), [true, false]);
    assert_eq!(world.undone(), [true]);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 300, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn f01_no_random_history_opens_a_session_without_the_factor_or_uses_a_proof_twice(
        steps in history(60),
    ) {
        run(&steps);
    }
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    #[ignore = "long: .ci/run runs a hundred and twenty longer histories"]
    fn long_f01_no_long_random_history_opens_a_session_without_the_factor_or_uses_a_proof_twice(
        steps in history(120),
    ) {
        run(&steps);
    }
}
