#!/bin/sh
# Stand-ins for `waypost compile-plugin`, each by the name that it is linked under: see plugin_compile.rs.
case "${0##*/}" in
  hangs) exec sleep 60 ;;
  floods) exec cat /dev/zero ;;
  chats) yes waypost >&2; exit 4 ;;
  dies) echo last words >&2; kill -SEGV $$ ;;
  says-nothing) cat > /dev/null ;;
  tells-environment) /usr/bin/env >&2; exit 4 ;;
esac
