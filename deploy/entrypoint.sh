#!/bin/sh
# Starts `smallbig` in a container. `serve` listens on every address of the container there, because no other can be published,
# and such a server needs a token. If none is given by --token, one is made and printed.
set -eu

if [ "${1:-}" = serve ]; then
  shift
  case " $* " in
    *" --help "* | *" --token "* | *" --token="*) ;;
    *)
      file=$(mktemp)
      token=$(python -c "import secrets; print(secrets.token_urlsafe(24))")
      echo "$token" > "$file"
      echo "Open http://localhost:8000/#token=$token" >&2
      echo "This token is new at every start; --token FILE sets one of your own." >&2
      set -- --token "$file" "$@"
      ;;
  esac
  set -- serve --host 0.0.0.0 "$@"
fi
exec smallbig "$@"
