//! What the text of a mail contains: its link and its code.

/// Returns a message without the escapes of `quoted-printable`, as far as links and codes need it.
pub fn plain(message: &str) -> String {
    message.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=")
}

/// Returns the token in the link of a message.
pub fn token(message: &str) -> Option<String> {
    let message = plain(message);
    let text = message.split("#t=").nth(1)?;
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && !"-_.".contains(character));
    Some(text[..end.unwrap_or(text.len())].to_owned()).filter(|token| token.starts_with("vt1."))
}

/// Returns the eight digits of the first line of a message that consists of them and of spaces.
pub fn code(message: &str) -> Option<String> {
    let digits = |line: &str| line.split_whitespace().collect::<String>();
    plain(message).lines().map(digits).find(|line| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit()))
}
