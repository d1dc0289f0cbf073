//! JSON kept as text, so that both databases give back exactly the members, in the order, that were put in.

use sea_orm::DeriveValueType;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A JSON value in a text column. A row that holds no JSON cannot be read.
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
