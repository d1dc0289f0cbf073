//! The transport for development: each mail becomes a file.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use uuid::Uuid;

use super::send_error::SendError;
use crate::live::files;

/// Writes mails into a directory, as `<id>.eml`.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The directory is created with the first mail.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a mail, which only its owner can read. A mail that is written again replaces its file. A reader of the directory
    /// sees whole files only.
    pub(super) async fn write(&self, id: Uuid, message: Vec<u8>) -> Result<(), SendError> {
        let directory = self.0.clone();
        let write = move || match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).context("cannot create the directory"),
            _ => files::write_whole(&directory.join(format!("{id}.eml")), &message),
        };
        let written = tokio::task::spawn_blocking(write).await.context("the thread ended").and_then(|result| result);
        written.map_err(|error| SendError::Transport(format!("cannot write to {}: {error:#}", self.0.display())))
    }
}
