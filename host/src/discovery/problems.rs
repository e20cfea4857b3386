//! What a check finds of a source without asking it: the files that go with it, and whether
//! Kubernetes can be found.

use super::client::TOKEN_SIZE;
use super::kubernetes::{in_pod, not_in_a_pod};
use crate::config::model::{ServerSource, SourceKind, UpstreamTls};
use crate::config::problem::Problem;
use crate::config::reason;
use crate::file;
use crate::tls::{ClientTls, SystemRoots, Warnings};

/// What keeps a source from being asked, each at its key. Waits for the disk.
pub(crate) fn problems(source: &ServerSource) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(ca) = &source.ca {
        let (mut roots, mut warnings) = (SystemRoots::default(), Warnings::new());
        let settings = UpstreamTls::verified_by(Some(ca.clone()));
        let built = ClientTls::build(&settings, false, &ca.place, None, &mut roots, &mut warnings);
        problems.extend(built.err().into_iter().flatten());
    }
    if let Some(token) = &source.token_file
        && let Err(error) = file::read_regular(&token.path, TOKEN_SIZE)
    {
        let (path, why) = (token.path.display(), reason(&error));
        let message = format!("the token cannot be read from `{path}`: {why}");
        let hint = "without it the source is not asked: write it there, or name another file";
        problems.push(Problem::new(&token.place, message).hint(hint));
    }
    if let SourceKind::Kubernetes { api: None, .. } = &source.kind
        && in_pod().is_none()
    {
        let hint = "`api = \"https://10.0.0.1:6443\"`, with a `ca` and a `token_file`; a check in \
                    the pod itself finds nothing wrong";
        problems.push(Problem::new(&source.place.0, not_in_a_pod()).hint(hint));
    }
    problems
}
