# fish completion for creel. Use: creel completion fish | source
function __creel_found
	set -l words (commandline -opc) (commandline -ct)
	$words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c creel -f -a '(__creel_found)'
complete -c creel -n 'test -z "$(__creel_found)"' -F
