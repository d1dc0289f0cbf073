//! Setup: the first administrator and the issuer of an installation.

use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::lock_administration,
    credentials,
    source::Source,
    users::{self, NewAccount},
};
use crate::{
    app::App,
    entity::{installation, user},
    error::{Error, Result},
    live::{files::write_secret, random},
    values::{password::NewPassword, role_name::RoleName},
};

/// The file in the data directory that holds the first administrator's password.
pub const PASSWORD_FILE: &str = "initial-admin-password";

/// Creates the first administrator of an installation without users: the user `admin`, with a random password that is written
/// to [`PASSWORD_FILE`]. Returns the password, or `None` if there are users already. If the file or the database cannot be
/// written, there is no administrator yet, and the next start tries again.
pub async fn first_administrator(app: &App) -> Result<Option<String>> {
    if user::Entity::find().count(app.db.read()).await? > 0 {
        return Ok(None);
    }
    let password = random::password().map_err(Error::internal)?;
    let parsed =
        |_| Error::internal(anyhow::anyhow!("the first administrator's e-mail address, username or password is rejected"));
    let secret: NewPassword = password.parse().map_err(parsed)?;
    // Does not check whether the names are free: another process may be creating the same administrator.
    let hash = credentials::hash_random(app, &secret).await?;
    let new = NewAccount {
        email: "admin@vestibule.invalid".parse().map_err(parsed)?,
        username: Some("admin".parse().map_err(parsed)?),
        name: None,
        password: Some(secret),
        roles: vec![RoleName::admin(), RoleName::user()],
        language: None,
        email_verified: true,
    };
    let tx = app.db.write().await?;
    lock_administration(&tx).await?;
    if user::Entity::find().count(&tx).await? > 0 {
        return Ok(None);
    }
    let user = users::insert(app, &tx, new, Some(hash)).await?;
    let event = Event::on_user(Kind::UserCreated, &user).with(json!({ "roles": [RoleName::ADMIN, RoleName::USER] }));
    audit::record(&tx, user.created_at, &Source::default(), Actor::operator(), event).await?;
    // The file is written first: an account with an unknown password would be worse than a password without an account.
    write_secret(&app.settings.data_dir.join(PASSWORD_FILE), &password).map_err(Error::internal)?;
    tx.commit().await?;
    Ok(Some(password))
}

/// Stores the issuer that the settings name. Servers with different issuers reject each other's tokens, so this fails if the
/// stored issuer is another one, unless `accept` is set.
pub async fn keep_issuer(app: &App, accept: bool) -> Result<()> {
    let tx = app.db.write().await?;
    let mut row = installation::Entity::locked(&tx).await?;
    let (named, ours) = (app.settings.configured_issuer(), &app.signing.issuer);
    if row.issuer == named {
        return Ok(());
    }
    if let Some(kept) = row.issuer.as_ref().filter(|kept| *kept != ours && !accept) {
        return Err(Error::internal(anyhow::anyhow!(
            "the issuer of this installation is {kept}, but the settings of this server make it {ours}, and servers reject \
             tokens of another issuer: set tokens.issuer or server.public_url as on the other servers, or change the issuer \
             with `vestibule serve --accept-issuer`"
        )));
    }
    if named.is_some() || accept {
        row.issuer = named;
        row.write(&tx).await?;
        tx.commit().await?;
    }
    Ok(())
}
