//! The Rust clients of hubs, unmodified: `at1w-hub-clients URL TOKEN FOLDER TARGET` uploads the
//! files of FOLDER that lie in it itself with hf-hub 1.0 to `lab/rust`, and downloads them with
//! 0.4 and with 1.0 into folders of TARGET.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use hf_hub_0::api::sync::ApiBuilder;
use hf_hub_1::repository::{AddSource, CommitOperation};
use hf_hub_1::{HFClientBuilder, RepoTypeModel};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [url, token, folder, target] = &args[..] else { return Err("four arguments".into()) };
    let target = PathBuf::from(target);
    let client = HFClientBuilder::new().endpoint(url).token(token);
    let client = client.cache_dir(target.join("cache-1")).build()?;
    client.create_repository().repo_id("lab/rust").repo_type(RepoTypeModel).send().await?;
    let repo = client.model("lab", "rust");
    let (mut names, mut operations) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name().into_string().map_err(|_| "a name is not UTF-8")?;
            let (path_in_repo, source) = (name.clone(), AddSource::File(entry.path()));
            operations.push(CommitOperation::Add { path_in_repo, source });
            names.push(name);
        }
    }
    repo.create_commit().operations(operations).commit_message("from Rust").send().await?;
    repo.create_branch().branch("next").send().await?;
    repo.snapshot_download().local_dir(target.join("1.0")).send().await?;

    let (url, token) = (url.clone(), token.clone());
    let download = move || -> Result<(), String> {
        let api = ApiBuilder::new().with_endpoint(url).with_token(Some(token));
        let api = api.with_progress(false).with_cache_dir(target.join("cache-0"));
        let repo = api.build().map_err(|error| error.to_string())?.model("lab/rust".into());
        let info = repo.info().map_err(|error| error.to_string())?;
        let listed: Vec<_> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let missing = names.iter().find(|name| !listed.contains(&name.as_str()));
        missing.map_or(Ok(()), |name| Err(format!("{name} is not listed")))?;
        fs::create_dir_all(target.join("0.4")).map_err(|error| error.to_string())?;
        for name in names {
            let path = repo.get(&name).map_err(|error| format!("{name}: {error}"))?;
            let copied = fs::copy(path, target.join("0.4").join(&name));
            copied.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    Ok(tokio::task::spawn_blocking(download).await??)
}
