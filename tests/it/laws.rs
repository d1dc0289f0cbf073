//! The rules of escalation, over random histories: there is always an active administrator, and no caller grants or takes away
//! permissions that the caller does not hold, or changes an account that holds them. This includes the permissions of
//! applications (rows A05 and A06).

use std::collections::BTreeMap;

use proptest::{
    prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest},
    sample::subsequence,
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use vestibule::{
    entity::{
        user::{self, Status},
        user_role,
    },
    live::role_map::RoleMap,
    values::{ids::UserId, permission::Grants, role_name::RoleName},
};

use crate::support::{PASSWORD, TestApp};

const PEOPLE: &[&str] = &["ada", "bob", "cyd"];
const ROLES: &[&str] = &["red", "green", "blue"];
const PERMISSIONS: &[&str] = &[
    "users:read",
    "users:write",
    "users:delete",
    "roles:assign",
    "sessions:end",
    "roles:write",
    "billing:refund",
    "billing:pay",
];

/// What a caller attempts. People are numbers: 0 is the first administrator.
#[derive(Debug, Clone)]
enum Step {
    SetRoles { by: usize, of: usize, roles: Vec<&'static str> },
    SetStatus { by: usize, of: usize, disabled: bool },
    SetPassword { by: usize, of: usize },
    EndSessions { by: usize, of: usize },
    Rename { by: usize, of: usize },
    ReplaceRole { by: usize, role: &'static str, permissions: Vec<&'static str> },
    CreateUser { by: usize, roles: Vec<&'static str> },
}

fn step() -> impl Strategy<Value = Step> {
    let person = || 0..=PEOPLE.len();
    let roles = || subsequence(vec!["red", "green", "blue", "admin", "user"], 0..=3);
    let permissions = || subsequence(PERMISSIONS.to_vec(), 0..=6);
    prop_oneof![
        4 => (person(), person(), roles()).prop_map(|(by, of, roles)| Step::SetRoles { by, of, roles }),
        3 => (person(), 0..ROLES.len(), permissions()).prop_map(|(by, role, permissions)| Step::ReplaceRole { by, role: ROLES[role], permissions }),
        2 => (person(), person(), any::<bool>()).prop_map(|(by, of, disabled)| Step::SetStatus { by, of, disabled }),
        1 => (person(), person()).prop_map(|(by, of)| Step::SetPassword { by, of }),
        1 => (person(), person()).prop_map(|(by, of)| Step::EndSessions { by, of }),
        1 => (person(), person()).prop_map(|(by, of)| Step::Rename { by, of }),
        1 => (person(), roles()).prop_map(|(by, roles)| Step::CreateUser { by, roles }),
    ]
}

/// The people and the roles in the database.
struct World {
    people: BTreeMap<UserId, (Status, Vec<RoleName>)>,
    map: RoleMap,
}

impl World {
    async fn read(app: &TestApp) -> Self {
        let db = app.app.db.read();
        let mut people = BTreeMap::new();
        for user in user::Entity::find().all(db).await.unwrap() {
            people.insert(user.id, (user.status, user_role::Entity::of(db, user.id).await.unwrap()));
        }
        Self { people, map: RoleMap::load(db).await.unwrap() }
    }

    fn grants(&self, person: UserId) -> Grants {
        self.map.grants(&self.people[&person].1)
    }

    fn of_roles(&self, roles: &[&str]) -> Grants {
        self.map.grants(&roles.iter().map(|role| role.parse().unwrap()).collect::<Vec<_>>())
    }

    fn administrators(&self) -> usize {
        self.people
            .values()
            .filter(|(status, roles)| *status == Status::Active && roles.iter().any(|role| *role == RoleName::admin()))
            .count()
    }
}

fn named(permissions: &[&str]) -> Grants {
    permissions.iter().map(|permission| permission.parse().unwrap()).collect()
}

/// Attempts one step, and checks that it succeeds only if the rules allow it and fails only for a reason that they give.
async fn attempt(app: &TestApp, ids: &[UserId], number: usize, step: &Step) {
    let before = World::read(app).await;
    let (by, needs): (usize, Vec<Grants>) = match step {
        Step::SetRoles { by, of, roles } => {
            (*by, vec![named(&["roles:assign"]), before.grants(ids[*of]), before.of_roles(roles)])
        }
        Step::SetStatus { by, of, .. } | Step::SetPassword { by, of } | Step::Rename { by, of } => {
            (*by, vec![named(&["users:write"]), before.grants(ids[*of])])
        }
        Step::EndSessions { by, of } => (*by, vec![named(&["sessions:end"]), before.grants(ids[*of])]),
        Step::ReplaceRole { by, role, permissions } => {
            (*by, vec![named(&["roles:write"]), before.of_roles(&[*role]), named(permissions)])
        }
        Step::CreateUser { by, roles } if roles.iter().all(|role| *role == RoleName::USER) => {
            (*by, vec![named(&["users:write"])])
        }
        Step::CreateUser { by, roles } => (*by, vec![named(&["users:write", "roles:assign"]), before.of_roles(roles)]),
    };
    let on_own_account = match step {
        Step::SetRoles { by, of, .. } | Step::SetStatus { by, of, .. } | Step::SetPassword { by, of } => by == of,
        _ => false,
    };
    let name = if by == 0 { "admin" } else { PEOPLE[by - 1] };
    let password = if by == 0 { app.admin_password().to_owned() } else { PASSWORD.to_owned() };
    let log_in = app.anonymous().post("/v1/sessions", json!({ "identifier": name, "password": password })).await;
    if before.people[&ids[by]].0 == Status::Disabled {
        assert_eq!(log_in.problem(), (403, "account_disabled"));
        return;
    }
    let caller = app.bearer(log_in.expect(201)["access_token"].as_str().unwrap());
    let path = |of: usize| format!("/v1/users/{}", ids[of]);
    let answer = match step {
        Step::SetRoles { of, roles, .. } => caller.put(&format!("{}/roles", path(*of)), json!({ "roles": roles })).await,
        Step::SetStatus { of, disabled, .. } => {
            caller.patch(&path(*of), json!({ "status": if *disabled { "disabled" } else { "active" } })).await
        }
        Step::SetPassword { of, .. } => {
            let same = if *of == 0 { app.admin_password() } else { PASSWORD };
            caller.put(&format!("{}/password", path(*of)), json!({ "new_password": same })).await
        }
        Step::EndSessions { of, .. } => caller.delete(&format!("{}/sessions", path(*of)), Value::Null).await,
        Step::Rename { of, .. } => caller.patch(&path(*of), json!({ "name": format!("Name {number}") })).await,
        Step::ReplaceRole { role, permissions, .. } => {
            caller.put(&format!("/v1/roles/{role}"), json!({ "permissions": permissions })).await
        }
        Step::CreateUser { roles, .. } => {
            caller.post("/v1/users", json!({ "email": format!("new{number}@example.org"), "roles": roles })).await
        }
    };
    let after = World::read(app).await;
    assert!(after.administrators() > 0, "no administrator is left after {step:?}");
    let holds = before.grants(ids[by]);
    let allowed = needs.iter().all(|grants| holds.covers(grants));
    if answer.status < 300 {
        assert!(allowed && !on_own_account, "{step:?} succeeded for a caller who holds {holds:?}");
    } else {
        let expected = match (on_own_account && holds.covers(&needs[0]), allowed) {
            (true, _) => &["own_account"][..],
            (false, true) => &["last_admin"],
            (false, false) => &["escalation_denied", "insufficient_permission"],
        };
        assert!(expected.contains(&answer.problem().1), "{step:?} was rejected with {:?}", answer.body);
        assert!(before.people == after.people, "{step:?} was rejected and changed something");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a05_a06_no_random_history_breaks_the_rules_of_escalation(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let app = TestApp::start().await;
            let admin = app.admin().await;
            let mut ids = vec![admin.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap()];
            for (name, role) in PEOPLE.iter().zip(ROLES) {
                ids.push(app.register(name).await);
                admin.post("/v1/roles", json!({ "name": role, "permissions": PERMISSIONS })).await.expect(201);
                admin.put(&format!("/v1/users/{}/roles", ids.last().unwrap()), json!({ "roles": [role] })).await.expect(200);
            }
            for (number, step) in steps.iter().enumerate() {
                attempt(&app, &ids, number, step).await;
            }
        });
    }
}
