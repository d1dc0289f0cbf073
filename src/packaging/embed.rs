//! The build script: lists the files that the binary contains, and compresses those of the pages, as they are served.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{Result, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};

fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let root = env::current_dir()?;
    let embed = |name: &str, folder: &str, store: fn(&Path, &Path) -> Result<PathBuf>| {
        println!("cargo::rerun-if-changed={folder}");
        let (folder, stored) = (root.join(folder), out.join(name));
        fs::create_dir_all(&stored)?;
        let mut table = String::new();
        for (number, file) in files(&folder)?.iter().enumerate() {
            let name = text(file.strip_prefix(&folder).expect("the file is in the folder"));
            let stored = store(file, &stored.join(number.to_string()))?;
            writeln!(table, "    ({name:?}, include_bytes!({:?})),", text(&stored)).expect("writing to memory succeeds");
        }
        fs::write(out.join(format!("{name}.rs")), format!("&[\n{table}]\n"))
    };
    println!("cargo::rerun-if-changed=src/packaging/embed.rs");
    embed("docs", "src/api/docs/assets", compressed)?;
    embed("account", "src/pages/dist/account", compressed)?;
    embed("mails", "src/live/mail/texts", |file, _| Ok(file.to_owned()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path of the checkout is UTF-8")
}

/// Returns the files in a folder and below it, in a fixed order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Writes `file` to `stored` in the format of gzip. The same file gives the same bytes: no time is in them.
fn compressed(file: &Path, stored: &Path) -> Result<PathBuf> {
    let mut encoder = GzBuilder::new().write(fs::File::create(stored)?, Compression::best());
    encoder.write_all(&fs::read(file)?)?;
    encoder.finish()?;
    Ok(stored.to_owned())
}
