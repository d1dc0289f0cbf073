//! The list of common passwords, which nobody may set.

use std::sync::LazyLock;

use zeroize::Zeroizing;

/// The passwords of at least 8 characters among the 20,000 most common, from the package Django 5.2 of PyPI
/// (`django/contrib/auth/common-passwords.txt.gz`, BSD-3-Clause, see `common_passwords.LICENSE`): ASCII, lower-case, sorted.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Returns whether the list contains a password, in any letter case.
pub fn contains(password: &str) -> bool {
    // The list is ASCII, so only the case of ASCII letters matters.
    let password = Zeroizing::new(password.to_ascii_lowercase());
    COMMON.binary_search(&password.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_ascii_lower_case_and_sorted_and_holds_no_short_password() {
        assert!(COMMON.len() > 5_000);
        assert!(COMMON.is_sorted());
        for common in COMMON.iter() {
            assert!(common.len() >= 8 && common.is_ascii() && *common == common.to_ascii_lowercase(), "{common}");
        }
    }
}
