//! `registration.open`, the former name of `registration.mode`. It is accepted for one release, with a warning.

use std::collections::BTreeMap;

use config::Value;

use super::{
    Setting, SettingError,
    reference::plain,
    setting_value::{SettingValue, echo},
};
use crate::values::registration_mode::RegistrationMode;

/// The setting under its former name.
pub(super) const REGISTRATION_OPEN: Setting = plain("registration.open", "", "Replaced by `registration.mode`.");
const REGISTRATION_MODE: &str = "registration.mode";

/// Replaces the former setting, if it is set, by the present one. Returns a warning in this case. Fails if the value is invalid
/// or if both are set, because the two could contradict each other.
pub(super) fn translate(values: &mut BTreeMap<String, Value>) -> Result<Option<SettingError>, SettingError> {
    let Some(former) = values.remove(REGISTRATION_OPEN.name) else { return Ok(None) };
    let about = |message: String| SettingError::new(REGISTRATION_OPEN.name, message);
    if values.contains_key(REGISTRATION_MODE) {
        return Err(about(format!("is the former name of `{REGISTRATION_MODE}`, which is set too; remove it.")));
    }
    let mode = match bool::parse(former.kind.clone()) {
        Some(true) => RegistrationMode::Open,
        Some(false) => RegistrationMode::Closed,
        None => return Err(about(format!("must be {}, not {}.", bool::expected(), echo(&former)))),
    };
    values.insert(REGISTRATION_MODE.into(), Value::new(None, mode.as_str()));
    Ok(Some(about(format!(
        "is replaced by `{REGISTRATION_MODE}` and will not work in the next release; set that to `{}`.",
        mode.as_str()
    ))))
}
