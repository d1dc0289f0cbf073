//! The uses between the modules of `src`, read from the text of the files: from `use` declarations and from paths in the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    iter::{self, Peekable},
    mem,
    path::Path,
};

/// The names of a path: `live::feed` is `["live", "feed"]`.
pub type Names = Vec<String>;

/// The names that one module uses from another, by the paths of both modules.
pub type Uses = BTreeMap<(Names, Names), BTreeSet<String>>;

/// The modules of `src`, without `main.rs` and unit tests.
pub struct Graph {
    modules: BTreeMap<Names, Module>,
}

/// A module of one file.
#[derive(Default)]
struct Module {
    /// The path that each imported name stands for.
    imports: BTreeMap<String, Names>,
    /// The paths in the rest of the file.
    paths: Vec<Names>,
}

impl Graph {
    pub fn read(src: &Path) -> Self {
        let mut graph = Self { modules: BTreeMap::new() };
        graph.read_folder(src, &[]);
        graph
    }

    fn read_folder(&mut self, folder: &Path, parent: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = [parent, &[name.to_owned()]].concat();
            match name {
                "main" | "tests" => {}
                _ if path.is_dir() => self.read_folder(&path, &module),
                _ if path.extension().is_none_or(|extension| extension != "rs") => {}
                "lib" | "mod" => self.add(parent.to_vec(), &fs::read_to_string(path).unwrap()),
                _ => self.add(module, &fs::read_to_string(path).unwrap()),
            }
        }
    }

    fn add(&mut self, module: Names, source: &str) {
        self.modules.insert(module, Module::parse(source));
    }

    /// Returns what each module uses from other modules. The import of a module (`use crate::live;`) does not count, but a path
    /// through it does (`live::feed::Feed`). A re-exported name counts as a use of the module that defines it.
    pub fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (path, module) in &self.modules {
            for used in module.imports.values().chain(&module.paths) {
                let Some((other, name)) = self.absolute(path, used).and_then(|used| self.definition(&used)) else { continue };
                if other != *path {
                    uses.entry((path.clone(), other)).or_default().insert(name);
                }
            }
        }
        uses
    }

    /// Returns the path from the root of the crate that `path` stands for in `module`; `None` for a path into another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let child = [module, &path[..1]].concat();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let levels = path.iter().take_while(|name| *name == "super").count();
                Some([&module[..module.len() - levels], &path[levels..]].concat())
            }
            name => match self.modules[module].imports.get(name).filter(|import| import[0] != *name) {
                Some(import) => Some([self.absolute(module, import)?.as_slice(), rest].concat()),
                None => self.modules.contains_key(&child).then(|| [&child, rest].concat()),
            },
        }
    }

    /// Returns the module that defines the item at this path, and the item's name; `None` for a path that ends at a module.
    fn definition(&self, path: &[String]) -> Option<(Names, String)> {
        let depth = (0..=path.len()).rev().find(|depth| self.modules.contains_key(&path[..*depth]))?;
        let (module, name) = (&path[..depth], path.get(depth)?);
        let import = self.modules[module].imports.get(name).and_then(|import| self.absolute(module, import));
        match import.filter(|import| import != &path[..=depth]) {
            Some(import) => self.definition(&[&import, &path[depth + 1..]].concat()),
            None => Some((module.to_vec(), name.clone())),
        }
    }
}

impl Module {
    fn parse(source: &str) -> Self {
        let mut module = Self::default();
        let mut words = words(source.split("#[cfg(test)]\nmod tests {").next().unwrap()).peekable();
        let mut path = Names::new();
        while let Some(word) = words.next() {
            if word == "use" {
                read_imports(&mut words, &[], &mut module.imports);
            } else if is_name(word) {
                path.push(word.to_owned());
            }
            let continues = word == "::" || words.peek() == Some(&"::");
            if !continues {
                module.paths.push(mem::take(&mut path));
            }
        }
        module.paths.retain(|path| path.len() > 1);
        module
    }
}

/// Reads the names that `a::{b, c as d}` imports, and the path of each.
fn read_imports<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
    prefix: &[String],
    imports: &mut BTreeMap<String, Names>,
) {
    let mut path = prefix.to_vec();
    let mut alias = None;
    while let Some(word) = words.next_if(|word| !matches!(*word, "," | "}" | ";")) {
        match word {
            "{" => {
                while words.next_if_eq(&"}").is_none() {
                    read_imports(words, &path, imports);
                    words.next_if_eq(&",");
                }
                return;
            }
            "as" => alias = words.next().map(str::to_owned),
            "self" if !path.is_empty() => {}
            name if is_name(name) => path.push(name.to_owned()),
            _ => {}
        }
    }
    if let Some(last) = path.last().cloned() {
        imports.insert(alias.unwrap_or(last), path);
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|char: char| char.is_alphabetic() || char == '_')
}

/// Returns the names, the `::` and the other characters of the code. Skips comments and the contents of string literals.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let mut rest = code;
    iter::from_fn(move || {
        rest = rest.trim_start();
        while rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
        }
        let is_part = |char: char| char.is_alphanumeric() || char == '_';
        let length = match rest.chars().next()? {
            _ if rest.starts_with("::") => 2,
            _ if rest.starts_with(r#"'"'"#) => 3,
            'r' if rest.starts_with("r#\"") => rest[3..].find("\"#").map_or(rest.len(), |end| end + 5),
            '"' => closing_quote(rest),
            char if is_part(char) => rest.find(|char| !is_part(char)).unwrap_or(rest.len()),
            char => char.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(if word.ends_with(['"', '#']) { "\"" } else { word })
    })
}

/// Returns the length of the string literal with which `code` begins.
fn closing_quote(code: &str) -> usize {
    let mut escaped = false;
    let closes = |&(_, char): &(usize, char)| {
        let closes = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        closes
    };
    code.char_indices().skip(1).find(closes).map_or(code.len(), |(index, _)| index + 1)
}

#[test]
fn uses_are_read_from_imports_and_from_paths() {
    let mut graph = Graph { modules: BTreeMap::new() };
    let name = |name: &str| name.split("::").map(str::to_owned).collect::<Names>();
    graph.add(Names::new(), "pub mod api;\n/// See [`crate::live::feed::Ghost`].\npub mod live;");
    graph.add(name("api"), "use crate::live::{self, feed::Feed as Followed};\nfn f() { live::Clock::now::<u8>() }");
    graph.add(name("live"), "pub use clock::Clock;\nconst TEXT: &str = \"use crate::api::Ghost; \\\" \";");
    graph.add(
        name("live::clock"),
        "use super::feed;\nfn f(feed: &feed::Feed) {}\n#[cfg(test)]\nmod tests { use crate::api::Ghost; }",
    );
    graph.add(name("live::feed"), "use std::time::Duration; pub struct Feed(super::super::api::Reply);");
    let expected = [
        ("api", "live::clock", "Clock"),
        ("api", "live::feed", "Feed"),
        ("live", "live::clock", "Clock"),
        ("live::clock", "live::feed", "Feed"),
        ("live::feed", "api", "Reply"),
    ];
    let expected = expected.into_iter().map(|(from, to, item)| ((name(from), name(to)), [item.to_owned()].into()));
    assert_eq!(graph.uses(), expected.collect());
}
