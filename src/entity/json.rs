//! JSON in a text column, so that both databases return the same members in the same order.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;
use serde_json::Value;

/// A JSON value in a text column. Reading a row fails if the text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct JsonText(pub Value);

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JsonText {
    type Err = serde_json::Error;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        raw.parse().map(Self)
    }
}
