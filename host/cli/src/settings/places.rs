//! The paths in a settings file: `~` at the beginning is the home directory, and others are relative
//! to the file, whichever table they stand in.

use super::Settings;
use crate::failure::Failure;
use crate::paths;
use std::path::{Path, PathBuf};

/// The provider of models whose name is a path.
const SCRIPTED: &str = "scripted:";
/// What begins a path that only the host completes.
const PLACEHOLDER: &str = "{{";

impl Settings {
    /// Completes the paths of the settings in this file.
    pub(super) fn complete_paths(&mut self, file: &Path) -> Result<(), Failure> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let home = paths::home();
        let complete = |path: &Path| {
            let completed = complete(path, folder, home.as_deref());
            completed.ok_or_else(|| {
                Failure::usage(format!(
                    "the settings {} name {}, and HOME names no home directory; set it, or write \
                     the whole path",
                    file.display(),
                    path.display()
                ))
            })
        };

        for path in self.paths() {
            *path = complete(path)?;
        }

        for program in self.programs() {
            if program.contains('/') {
                let path = complete(Path::new(&*program))?;
                // It was text, and so is what it was joined with, or it stays as it is.
                if let Some(path) = path.to_str() {
                    *program = path.to_owned();
                }
            }
        }

        let models = [
            &mut self.run.model,
            &mut self.serve.model,
            &mut self.models.default,
        ];
        for model in models.into_iter().flatten() {
            if let Some(path) = model.strip_prefix(SCRIPTED)
                && let Some(path) = complete(Path::new(path))?.to_str()
            {
                *model = format!("{SCRIPTED}{path}");
            }
        }

        Ok(())
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let models = &mut self.models;
        let services = [
            &mut models.openai,
            &mut models.anthropic,
            &mut models.gemini,
            &mut models.ollama,
        ];

        let mut paths: Vec<&mut PathBuf> = Vec::new();
        paths.extend(&mut self.run.data_dir);
        paths.extend(&mut self.serve.token_file);
        paths.extend(&mut self.serve.root);
        paths.extend(self.serve.agents.values_mut());
        paths.extend(
            services
                .into_iter()
                .flat_map(|service| &mut service.api_key_file),
        );
        paths.extend(self.commands.paths());
        paths.extend(
            self.secrets
                .0
                .values_mut()
                .flat_map(|secret| &mut secret.file),
        );
        paths.extend(
            self.mcp
                .values_mut()
                .flat_map(|server| &mut server.directory),
        );
        paths
    }

    /// Programs that the host starts itself; one with a `/` is a path.
    fn programs(&mut self) -> Vec<&mut String> {
        let secrets = self.secrets.0.values_mut();
        let secrets = secrets.filter_map(|secret| secret.command.as_mut()?.first_mut());
        let servers = self.mcp.values_mut();
        let servers = servers.filter_map(|server| server.command.first_mut());
        secrets.chain(servers).collect()
    }
}

/// Returns the whole path; `None` if it needs a home directory and there is none.
fn complete(path: &Path, folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    if path
        .to_str()
        .is_some_and(|path| path.starts_with(PLACEHOLDER))
    {
        return Some(path.to_owned());
    }

    match path.strip_prefix("~") {
        Ok(rest) if rest == Path::new("") => home.map(Path::to_owned),
        Ok(rest) => home.map(|home| home.join(rest)),
        Err(_) => Some(folder.join(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed() {
        for (written, expected) in [
            ("a/b", "/settings/a/b"),
            ("/a", "/a"),
            ("~", "/users/me"),
            ("~/a", "/users/me/a"),
            ("~other/a", "/settings/~other/a"),
            ("a/~", "/settings/a/~"),
            ("{{workspace}}/a", "{{workspace}}/a"),
        ] {
            let home = Some(Path::new("/users/me"));
            let completed = complete(Path::new(written), Path::new("/settings"), home);
            assert_eq!(completed, Some(expected.into()), "{written}");
        }
        assert_eq!(
            complete(Path::new("~/a"), Path::new("/settings"), None),
            None
        );
    }

    #[test]
    fn each_table_s_paths_are_relative_to_the_file() {
        let text = "
            [run]
            data_dir = 'p'
            model = 'scripted:p'
            [serve]
            token_file = 'p'
            root = ['p']
            agents = { a = 'p' }
            model = 'scripted:p'
            [models]
            default = 'scripted:p'
            [models.openai]
            api_key_file = 'p'
            [commands]
            readable = ['p']
            writable = ['p']
            [secrets.a]
            file = 'p'
            [secrets.b]
            command = ['./p', 'p']
            [mcp.a]
            command = ['./p', 'p']
            directory = 'p'
            [mcp.b]
            command = ['p']
            directory = '{{workspace}}'
        ";
        let mut settings: Settings = toml::from_str(text).expect("these are settings");
        settings
            .complete_paths(Path::new("/f/lastword.toml"))
            .unwrap();
        let paths = settings.paths().into_iter();
        let others: Vec<PathBuf> = paths
            .map(|path| path.clone())
            .filter(|path| path != Path::new("/f/p"))
            .collect();
        assert_eq!(others, [PathBuf::from("{{workspace}}")]);
        assert_eq!(settings.programs(), ["/f/./p", "/f/./p", "p"]);
        for model in [
            settings.run.model,
            settings.serve.model,
            settings.models.default,
        ] {
            assert_eq!(model.as_deref(), Some("scripted:/f/p"));
        }
    }
}
