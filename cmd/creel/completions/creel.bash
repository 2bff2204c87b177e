# bash completion for creel. Use: source <(creel completion bash)
_creel() {
	COMPREPLY=()
	# COMP_WORDS splits at = and :, so the words are taken from the line.
	local line=${COMP_LINE:0:COMP_POINT} words
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	while [[ ${#words[@]} -gt 0 && ${words[0]} != "$1" ]]; do # assignments before it
		words=("${words[@]:1}")
	done
	mapfile -t COMPREPLY < <("$1" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _creel creel
