package redaction

// tool is how one program writes a value that it finds in the environment.
type tool struct {
	name   string
	script string // of bash; $V is the variable's name
	// rest is a pattern of what is left of the output beside the marks.
	rest string
	only string // the one variable that it is for
}

// tools are those that Debian has, and what scripts and agents call most.
var tools = []tool{
	{name: "printenv", script: `printenv $V`},
	{name: "env", script: `env | grep -A99 "^$V=" | sed '2,$ { /^[A-Z_]*=/,$d }'`, rest: `[A-Z]+=`},
	{name: "echo", script: `echo "${!V}"`},
	{name: "dd, byte by byte", script: `printf %s "${!V}" | dd bs=1 status=none`},
	{name: "python3, slowly", script: `python3 -c 'import os,sys
for c in os.environb[sys.argv[1].encode()]: os.write(1, bytes([c]))' $V`},

	{name: "base64", script: `printf %s "${!V}" | base64`, rest: `=*`},
	{name: "base64, one line", script: `printf %s "${!V}" | base64 -w0`, rest: `=*`},
	{name: "base64, second of three", script: `printf 'x%s' "${!V}" | base64`, rest: `e.=*`},
	{name: "base64, third of three", script: `printf 'xx%s' "${!V}" | base64`, rest: `eH.=*`},
	{name: "base64, with what curl -u sends", script: `printf 'user:%s' "${!V}" | base64 -w0`, rest: `dXNlcj.=*`},
	{name: "base64, in the middle", script: `printf 'Authorization: Bearer %s, and so on' "${!V}" | base64`, rest: `(?s)[A-Za-z0-9+/]{0,32}\n?[A-Za-z0-9+/\n]{0,16}=*`},
	{name: "base64, of PEM's width", script: `printf %s "${!V}" | base64 -w64`, rest: `=*`},
	{name: "basenc, base64url", script: `printf %s "${!V}" | basenc --base64url -w0`, rest: `=*`},
	{name: "python3, base64url without padding", script: `python3 -c 'import os,sys,base64
print(base64.urlsafe_b64encode(os.environb[sys.argv[1].encode()]).decode().rstrip("="))' $V`},
	{name: "openssl, base64", script: `printf %s "${!V}" | openssl base64`, rest: `=*`},
	{name: "busybox, base64", script: `printf %s "${!V}" | busybox base64`, rest: `=*`},

	{name: "xxd", script: `printf %s "${!V}" | xxd -p`},
	{name: "xxd, upper case", script: `printf %s "${!V}" | xxd -p -u`},
	{name: "basenc, base16", script: `printf %s "${!V}" | basenc --base16`},
	{name: "od, without spaces", script: `printf %s "${!V}" | od -An -v -tx1 | tr -d ' \n'`},
	{name: "hexdump, without spaces", script: `printf %s "${!V}" | hexdump -v -e '1/1 "%02x"'`},
	{name: "python3, hex", script: `python3 -c 'import os,sys; print(os.environb[sys.argv[1].encode()].hex())' $V`},

	{name: "python3, JSON", script: `python3 -c 'import os,sys,json; print(json.dumps({"v": os.environ[sys.argv[1]]}))' $V`, rest: `\{"v": ""\}`},
	{name: "node, JSON", script: `node -e 'console.log(JSON.stringify(process.env[process.argv[1]]))' $V`, rest: `""`},
	{name: "jq, JSON", script: `jq -M -n --arg v "${!V}" '{v: $v}'`, rest: `\{\n  "v": ""\n\}`},
	{name: "jq, ASCII only", script: `jq -M -n -a --arg v "${!V}" '$v'`, rest: `""`},
	{name: "perl, JSON", script: `perl -MJSON::PP -MEncode -e 'print encode_json([decode_utf8 $ENV{$ARGV[0]}])' $V`, rest: `\[""\]`},
	{name: "python3, repr", script: `python3 -c 'import os,sys; print(repr(os.environ[sys.argv[1]]))' $V`, rest: `(''|"")`},
	{name: "python3, repr of bytes", script: `python3 -c 'import os,sys; print(os.environb[sys.argv[1].encode()])' $V`, rest: `b(''|"")`},

	{name: "python3, quote", script: `python3 -c 'import os,sys,urllib.parse; print(urllib.parse.quote(os.environ[sys.argv[1]], safe=""))' $V`},
	{name: "python3, quote but /", script: `python3 -c 'import os,sys,urllib.parse; print(urllib.parse.quote(os.environ[sys.argv[1]]))' $V`},
	{name: "python3, urlencode", script: `python3 -c 'import os,sys,urllib.parse; print(urllib.parse.urlencode({"v": os.environ[sys.argv[1]]}))' $V`, rest: `v=`},
	{name: "node, encodeURIComponent", script: `node -e 'console.log(encodeURIComponent(process.env[process.argv[1]]))' $V`},
	{name: "node, encodeURI", script: `node -e 'console.log(encodeURI(process.env[process.argv[1]]))' $V`},
	{name: "node, URLSearchParams", script: `node -e 'console.log(String(new URLSearchParams({v: process.env[process.argv[1]]})))' $V`, rest: `v=`},
	{name: "jq, @uri", script: `jq -M -n -r --arg v "${!V}" '$v|@uri'`},

	{name: "bash, printf %q", script: `printf '%q\n' "${!V}"`, rest: `(\$'')?`},
	{name: "bash, @Q", script: `echo "${!V@Q}"`, rest: `(\$?'')?`},
	{name: "bash, declare", script: `declare -p $V`, rest: `declare -x [A-Z]+=(""|\$'')`},
	{name: "bash, a trace", script: `bash -c 'set -x; : "$1"' - "${!V}" 2>&1`, rest: `\+ : (''|\$'')?`},
	{name: "dash, set", script: `dash -c 'unset $2; x=$1; set' - "${!V}" $V | grep -A99 '^x=' | sed '2,$ { /^[A-Z_]*=/,$d }'`, rest: `x=''`},
	{name: "python3, shlex", script: `python3 -c 'import os,sys,shlex; print(shlex.quote(os.environ[sys.argv[1]]))' $V`, rest: `('')?`},
	{name: "jq, @sh", script: `jq -M -n -r --arg v "${!V}" '$v|@sh'`, rest: `''`},

	{name: "half the lines of a key", script: `head -n 10 <<<"${!V}"`, rest: `-----BEGIN PRIVATE KEY-----\n+`, only: "KEY"},
	{name: "one line of a key", script: `sed -n 7p <<<"${!V}"`, only: "KEY"},
	{name: "grep in a key", script: `grep -v -e ----- <<<"${!V}" | head -n 3`, rest: `\n\n`, only: "KEY"},
}
