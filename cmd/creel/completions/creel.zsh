#compdef creel
# zsh completion for creel. Use: source <(creel completion zsh)
_creel() {
	local -a found
	found=("${(@f)$(${words[1]} __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if (( ${#found} )) && [[ -n ${found[1]} ]]; then
		compadd -a found
	else
		_files
	fi
}
if [[ $funcstack[1] == _creel ]]; then
	_creel "$@"
else
	compdef _creel creel
fi
